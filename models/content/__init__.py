"""What posts say and pictures show: models of texts and of pictures, and encoders from a folder."""
