"""Getting a file from elsewhere: downloads, archives, S3."""
