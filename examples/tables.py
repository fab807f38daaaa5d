"""A table from raw file to saved model: columns of any kind, no preprocessing.

Penguins have measures, an island and a sex, some of which are missing. TabularClassifier reads the frame
as it is, trains RealMLP's simple variant, keeps the best epoch and calibrates the probabilities; it is
compared with gradient boosting, which gets the same columns, encoded by hand. Then the body mass is
predicted, and the model saved to a file that holds the columns, too, and no code.

Run it with: python examples/tables.py [backend]      (cupy, torch, jax; numpy is the default)
"""

import sys
import tempfile
import warnings
from pathlib import Path

import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OrdinalEncoder

from nnbackend import tables
from nnbackend.estimators import TabularClassifier, TabularRegressor, load

BACKEND = sys.argv[1] if len(sys.argv) > 1 else "numpy"
warnings.simplefilter("ignore", tables.TableWarning)  # such as: missing values filled in

penguins = pl.read_csv(Path(__file__).parent / "data" / "penguins.csv", null_values="NA")
X, species = penguins.drop("species"), penguins["species"].to_numpy()
rows = train_test_split(range(len(X)), test_size=0.3, random_state=0, stratify=species)
(X_train, y_train), (X_test, y_test) = ((X[part], species[part]) for part in rows)

model = TabularClassifier(preset="fast", backend=BACKEND, random_state=0).fit(X_train, y_train)
print(model.model_.network.summary())
print(f"{model.n_iter_} epochs; what was done to the columns:")
for column in model.model_.encoder.describe():
    print(f"  {column.column}: {column.kind}, {column.done}")

texts = [name for name, kind in X.schema.items() if kind == pl.String]
numbers = [name for name in X.columns if name not in texts]
codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(X_train[texts])


def encode(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns as numbers, as gradient boosting takes them."""
    return frame[numbers].hstack(pl.DataFrame(codes.transform(frame[texts]), schema=texts))


boosting = HistGradientBoostingClassifier(random_state=0).fit(encode(X_train), y_train)
results = {
    "TabularClassifier": (model.score(X_test, y_test), model.predict_proba(X_test)),
    "gradient boosting": (
        boosting.score(encode(X_test), y_test),
        boosting.predict_proba(encode(X_test)),
    ),
}
for name, (accuracy, p) in results.items():
    print(f"{name:<18} accuracy {accuracy:.3f}   log loss {log_loss(y_test, p):.3f}")
assert results["TabularClassifier"][0] > 0.95

# Numbers are predicted in their own units; new rows may lack values, or have ones never seen.
known = penguins.drop_nulls("body_mass_g")
heavy = TabularRegressor(preset="fast", epochs=64, backend=BACKEND, random_state=0)
heavy.fit(known.drop("body_mass_g"), known["body_mass_g"].to_numpy())
new = known.drop("body_mass_g").head(1).with_columns(island=pl.lit("Elsewhere"), sex=None)
with tempfile.TemporaryDirectory() as folder:
    again = load(heavy.save(Path(folder) / "mass.safetensors"), backend=BACKEND)
print(f"a penguin of an unknown island: {again.predict(new)[0]:.0f} g")
assert abs(again.predict(new)[0] - heavy.predict(new)[0]) < 0.1
