"""The pages of the service: HTML made on the server, with htmx for what changes on them.

translations.py every text on the pages, English and Chinese
render.py     templates, language, headers
views.py      overview, try it, review, examples, sign in
quality.py    conflicting and duplicate examples
reference.py  /docs, made from the OpenAPI document
"""
