"""Which requests run next, together: bounded queues, batches of one task, no starvation.

Nothing here knows of transports, threads or event loops: the caller says what time it is. The
server (`gearshift.server.service`) and the simulation (`gearshift.scheduler.simulate`) drive the
same code.
"""

from gearshift.scheduler.admission import QueueFull
from gearshift.scheduler.entry import Batch, Entry, Key
from gearshift.scheduler.scheduler import Scheduler
from gearshift.scheduler.service_times import ServiceTimes
from gearshift.scheduler.settings import SchedulerSettings

__all__ = [
    "Batch",
    "Entry",
    "Key",
    "QueueFull",
    "Scheduler",
    "SchedulerSettings",
    "ServiceTimes",
]
