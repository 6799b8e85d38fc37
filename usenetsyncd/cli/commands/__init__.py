"""The commands of usyncctl, one module for each noun; loaded when one of them is called."""
