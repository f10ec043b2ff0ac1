"""Plan, run and record builds: content keys, the artifact store, workers, journals, monitors. What a step does comes
in only through ``registry``; nothing here knows a cloud.
"""
