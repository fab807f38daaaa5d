"""A report on a trained model as one HTML file that needs no network: ``write_report``."""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.report.write import check_report_libraries, write_report

__all__ = ["check_report_libraries", "write_report"]

__getattr__, __dir__ = lazily(
    __name__, {"check_report_libraries": "write", "write_report": "write"}
)
