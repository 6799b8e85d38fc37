"""The dashboard: pages made by the daemon, for a browser that logged in. No page needs a script to be used."""
