"""AWS offline: moto behind a front door that keeps a journal, and a stand-in for the provider `aws` that talks to it."""
