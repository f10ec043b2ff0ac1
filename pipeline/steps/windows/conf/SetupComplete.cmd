@echo off
rem Run by Windows Setup at its end, in each guest made from the image: from now on cloudbase-init starts by itself.
sc config cloudbase-init start= auto
net start cloudbase-init
