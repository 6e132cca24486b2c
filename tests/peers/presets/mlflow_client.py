"""mlflow_client.py train|look EXPERIMENT: MLflow's own client against MLFLOW_TRACKING_URI, with a key in
MLFLOW_TRACKING_TOKEN. `train` records a run with a metric and an artifact; `look` reads it, then tries to change it."""

import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient

what, name = sys.argv[1:]
folder = Path(tempfile.mkdtemp())
notes = folder / "notes.txt"
notes.write_text("learned")

if what == "train":
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="first-run"):
        mlflow.log_param("depth", 3)
        mlflow.log_metric("loss", 0.25)
        mlflow.log_artifact(str(notes))
    print("recorded")
    sys.exit()

client = MlflowClient()
experiment = client.get_experiment_by_name(name)
runs = client.search_runs([experiment.experiment_id])
run = runs[0].info.run_id
read = Path(client.download_artifacts(run, "notes.txt", str(folder / ""))).read_text()
print(f"found {len(runs)} run, loss {client.get_run(run).data.metrics['loss']}, notes.txt says {read}")
changes = {
    "set_tag": lambda: client.set_tag(run, "changed", "yes"),
    "log_metric": lambda: client.log_metric(run, "loss", 9.0),
    "log_artifact": lambda: client.log_artifact(run, str(notes)),
    "delete_run": lambda: client.delete_run(run),
    "delete_experiment": lambda: client.delete_experiment(experiment.experiment_id),
    "create_experiment": lambda: client.create_experiment(f"{name}-too"),
}
for change, make in changes.items():
    try:
        make()
        print(change, "done")
    except Exception as error:  # of the client or of its HTTP library
        print(change, "refused 403" if "403" in str(error) else repr(error))
