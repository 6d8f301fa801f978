"""The request log: a JSON object per line on standard error, without secrets or texts."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from annotator.web.monitoring.requests import RequestRecord

_logger = logging.getLogger("lskd.requests")


def use_json_logs() -> None:
    """Log requests, warnings and errors of this process as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            ["levelname", "name", "message"],
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger"},
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    _logger.setLevel(logging.INFO)


def log_request(record: RequestRecord) -> None:
    """Log a request."""
    fields = record._asdict()
    fields["milliseconds"] = round(fields.pop("seconds") * 1000, 1)
    _logger.info("request", extra=fields)
