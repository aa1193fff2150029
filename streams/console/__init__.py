"""The console: a read-only page that shows what the workers and the topics tell, as it happens (docs/console.md).

Pure functions turn samples and records into one view (``view.py``); ``scraping.py`` and ``following.py`` fetch them, ``server.py`` serves
the page and the view.
"""
