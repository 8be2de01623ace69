"""What the log says of exceptions."""


def raised(caplog, name):
    """Return the records whose traceback ends with an exception of that name."""
    return [
        record
        for record in caplog.records
        if record.exc_text and record.exc_text.splitlines()[-1].split(":")[0].split(".")[-1] == name
    ]
