"""A model as a Ray Serve application, for where one machine is not enough.

    from ray import serve
    from gearshift.ray_serve import application
    serve.run(application("demo", replicas=2), name="demo")

or `serve run gearshift.ray_serve:build model=demo replicas=2`. An ingress speaks HTTP as
`gearshift serve` does, with the same endpoints; behind it, every replica opens the model and runs
any task of it. The task is the `multiplexed_model_id` of what the ingress asks of replicas, so that
Ray sends a task to those that ran it lately and keep its experts, and batches it with none but
itself. Ray does the scheduling: priorities of requests mean nothing here.
"""

from __future__ import annotations

from gearshift.errors import BackendError

try:
    from gearshift.ray_serve.application import application, build
except ModuleNotFoundError as error:
    raise BackendError(
        f"Ray Serve needs the package {error.name}: pip install 'gearshift[ray]'"
    ) from None

__all__ = ["application", "build"]
