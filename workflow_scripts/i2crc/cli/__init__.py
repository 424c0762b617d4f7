"""The command `i2crc`, for people; the rules call the scripts in workflow_scripts/."""
