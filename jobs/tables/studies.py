"""Studies of tuning in the warehouse, in a schema of their own beside the mart: killed, they go on where they were."""

import optuna
import psycopg
from optuna.trial import TrialState
from psycopg import sql

from jobs.models.tuning import OWN, Params
from jobs.runtime.args import JobArgs
from jobs.tables.warehouse import connect, ident, lock

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def schema(args: JobArgs) -> str:
    """The schema of a site's studies."""
    return f"{args.site.warehouse.mart_schema}_tuning"


def open_study(args: JobArgs, own: Params) -> optuna.Study:
    """The study of this night and these settings, begun with the site's ``own`` or gone on with.

    A trial that nobody runs any more, as its process was killed, is set down as failed and tried again.
    """
    study = optuna.create_study(
        storage=_storage(args),
        study_name=f"{args.site.site} {args.date} {args.site.digest[:12]}",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    # a sampler that starts anew would draw what was drawn before the process was killed
    study.sampler = optuna.samplers.TPESampler(seed=args.site.seed + len(study.trials))
    if not study.trials:
        study.enqueue_trial(own, user_attrs={OWN: True})
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={OWN: True} if OWN in trial.user_attrs else None)
    return study


def left(study: optuna.Study, trials: int) -> int:
    """How many of ``trials`` were not tried to their end yet."""
    return max(trials - len(study.get_trials(deepcopy=False, states=ENDED)), 0)


def _storage(args: JobArgs) -> optuna.storages.RDBStorage:
    name = schema(args)
    with connect(args.environment) as connection:
        lock(connection, f"nightlift ddl {name}")
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(ident(name)))
    url, options = args.environment.warehouse_url, f"-c search_path={name}"
    # libpq reads the address in each of its forms, and no password becomes a part of optuna's
    engine = {"creator": lambda: psycopg.connect(url, options=options)}
    return optuna.storages.RDBStorage("postgresql+psycopg://", engine_kwargs=engine)
