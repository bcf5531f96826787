"""What training and its gate are functions of."""
