"""Plans, content keys, the artifact store, the journal and the monitors."""
