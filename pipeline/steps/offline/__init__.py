"""What is done to an installed disk while nothing runs on it, all in one launch of the appliance."""
