"""What a reference run measured, kept in one file: machine, versions, date, and a section for each kind of numbers.

The file is written after each number, so that a run that was cut short can be resumed.
"""
import datetime
import json
from pathlib import Path


class Record:
    """Sections of labeled results.  Without a path nothing is written."""

    def __init__(self, path=None, facts=None, resume=False):
        self.path = path and Path(path)
        self.data = json.loads(self.path.read_text()) if self.path and self.path.exists() else {}
        self.resume = resume
        if facts is not None:
            self.data["machine"] = facts | {"date": datetime.date.today().isoformat()}

    def section(self, name):
        return self.data.setdefault(name, {})

    def has(self, section, label):
        """Whether this was measured and need not be again."""
        return self.resume and label in self.section(section)

    def put(self, section, label, value):
        self.section(section)[label] = value
        self.save()

    def save(self):
        if self.path:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(json.dumps(self.data, indent=1) + "\n")
