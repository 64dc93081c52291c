"""Where uploads are read from and sprites are put: buckets (cos, folder), read-only URLs (http), readers."""
