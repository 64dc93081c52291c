"""The platform on one machine: what COS, SCF and its triggers do in the cloud, for a folder."""
