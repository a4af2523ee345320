"""Accounts over HTTP: sign-up, sign-in, keys, approval (docs/accounts.md). What they are is in `vivavoce.accounts`."""
