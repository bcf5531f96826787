"""A shop's nested JSON export, as `python -m tests.bench.export FOLDER` writes it: something to map.

One object a line and a file a day: an order with its customer and an array of lines, times in epoch
seconds, amounts as totals of a line (so that their unit price is often no whole number of cents),
attributes of the customer inside the order. Beside it lies `TRUTH.json` with what is in it. The same
seed writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

START = date(2025, 1, 1)


def write_export(folder: Path, days: int = 150, users: int = 800, seed: int = 7) -> dict[str, Any]:
    """Write the export; returns the counts that a mapping of it must come to."""
    random_ = random.Random(seed)
    shoppers = [_shopper(random_, i) for i in range(users)]
    counts: Counter[str] = Counter()
    minor = 0
    (folder / "orders").mkdir(parents=True, exist_ok=True)
    for n in range(days):
        day = START + timedelta(days=n)
        lines = []
        for shopper in shoppers:
            if day < shopper["from"] or random_.random() > shopper["rate"]:
                continue
            order = _order(random_, shopper, day, counts["orders"])
            counts["orders"] += 1
            counts["lines"] += len(order["line_items"])
            minor += sum(round(float(line["total"]) * 100) for line in order["line_items"])
            lines.append(json.dumps(order))
        path = folder / "orders" / f"orders-{day}.json"
        path.write_text("".join(f"{line}\n" for line in lines))
    truth = {"orders": counts["orders"], "lines": counts["lines"], "amount_minor": minor}
    (folder / "TRUTH.json").write_text(json.dumps(truth, indent=2))
    return truth


def _shopper(random_: random.Random, i: int) -> dict[str, Any]:
    loyalty = random_.random()
    return {
        "id": 50_000 + i,
        "rate": 0.004 + 0.12 * loyalty**3,
        "from": START + timedelta(days=int(random_.random() ** 2 * 120)),
        "tier": "gold" if loyalty > 0.8 else "silver" if loyalty > 0.5 else "basic",
        "age_band": random_.choice(["18-29", "30-44", "45-64", "65+"]),
        "country": random_.choice(["DE", "DE", "FR", "PL"]),
    }


def _order(random_: random.Random, shopper: dict[str, Any], day: date, n: int) -> dict[str, Any]:
    second = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    lines = []
    for _ in range(1 + int(-math.log(random_.random()) * 1.2)):
        quantity = random_.choice([1, 1, 1, 2, 3, 7])
        lines.append(
            {
                "sku": f"SKU-{int(random_.random() ** 2 * 120):03d}",
                "qty": quantity,
                "total": f"{random_.randrange(199, 9_999) / 100:.2f}",
            }
        )
    return {
        "id": 900_000 + n,
        "created": second + random_.randrange(86_400),
        "currency": "EUR",
        "customer": {key: shopper[key] for key in ("id", "tier", "age_band", "country")},
        "line_items": lines,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--days", type=int, default=150)
    arguments.add_argument("--users", type=int, default=800)
    arguments.add_argument("--seed", type=int, default=7)
    given = arguments.parse_args()
    print(json.dumps(write_export(given.folder, given.days, given.users, given.seed)))


if __name__ == "__main__":
    main()
