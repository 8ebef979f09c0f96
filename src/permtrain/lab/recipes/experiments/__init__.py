"""The papers' experiments and ours: functions that return the complete settings of all arms."""
