"""`GET /metrics` as numbers; the text is checked strictly, as a scraper would."""

import re

from .server import DIRECT

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"]*",?)*)\})? (\S+)')


class Scrape:
    def __init__(self, text):
        self.text, self.families, self.samples = text, set(), {}
        assert text.endswith("# EOF\n"), text[-200:]
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name = line.split()[2]
                assert name not in self.families, f"{name} is described twice"
                self.families.add(name)
            elif not line.startswith("#"):
                name, labels, value = SAMPLE.fullmatch(line).groups()
                key = (name, frozenset(re.findall(r'([a-z_]+)="([^"]*)"', labels or "")))
                assert key not in self.samples, f"two samples {key}"
                self.samples[key] = float(value)

    def value(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]


def scrape(server):
    with DIRECT.open(f"http://127.0.0.1:{server.port}/metrics", timeout=20) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        return Scrape(response.read().decode())
