"""The two commands: usenetsyncd and usyncctl."""
