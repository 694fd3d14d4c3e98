"""The methods of `client.prebuilds`: the generated methods of the schema and the handwritten methods on top of them.

The latter are logic (see `prebuilds.flows`) that both clients run, each with its driver. A method imports its logic
when it is called, so that programs that only make calls start faster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from prebuild_api import models, params
from prebuild_api.models import PrebuildPhase, WarmPoolPhase
from prebuild_api.operations import CallOptions, Operation, PagedOperation
from prebuild_api.pages import AsyncListing, AsyncPage, Page
from prebuild_api.resources import AsyncPrebuildsResource, PrebuildsResource
from prebuild_api.types import Model
from prebuilds.calls import CallExecutor, check_options
from prebuilds.flows.drivers import AsyncDriver, Driver
from prebuilds.options import DEFAULT_POLL_INTERVAL, DEFAULT_POOL_WAIT, DEFAULT_WAIT, Seconds
from prebuilds.pagination import AsyncListingPager, Listing, ListingPager
from prebuilds.waitables import Goal

RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)
PageT = TypeVar("PageT", bound=Page[Any, Any])
AsyncPageT = TypeVar("AsyncPageT", bound=AsyncPage[Any, Any])
BaseT = TypeVar("BaseT")


class Calls:
    """Sends the requests of a service's methods; a mixin of generated resources."""

    def __init__(self, executor: CallExecutor, driver: Driver) -> None:
        self._executor = executor
        self._driver = driver

    def _call(self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions) -> ResponseT:
        check_options(type(self), operation, options)
        return self._driver.run(self._executor.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[PageT],
        request: RequestT,
        options: CallOptions,
    ) -> PageT:
        check_options(type(self), operation, options)
        listing = Listing[Any, Any, Any](executor=self._executor, operation=operation, request=request, options=options)
        return cast("PageT", ListingPager(listing, page_type, self._driver).page())


class AsyncCalls:
    """Sends the requests of a service's asynchronous methods."""

    def __init__(self, executor: CallExecutor, driver: AsyncDriver) -> None:
        self._executor = executor
        self._driver = driver

    async def _call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> ResponseT:
        check_options(type(self), operation, options)
        return await self._driver.run(self._executor.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[AsyncPageT],
        request: RequestT,
        options: CallOptions,
    ) -> AsyncListing[AsyncPageT, ItemT]:
        check_options(type(self), operation, options)
        listing = Listing[Any, Any, Any](executor=self._executor, operation=operation, request=request, options=options)
        return AsyncListing(AsyncListingPager(listing, page_type, self._driver).page)


class Prebuilds(Calls, PrebuildsResource):
    """The methods of the service, and more; `client.prebuilds` is one."""

    def wait(
        self,
        prebuild_id: str | models.Prebuild,
        *,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.Prebuild:
        """Wait until a prebuild is COMPLETED, or until it reaches `until`.

        Transient failures of the network or the service do not end the wait, unless no poll succeeds in the first two
        minutes. In an unknown phase, the wait continues.

        A prebuild can complete with a warning: it is in `status.warning_message`, and is written to the log.

        Args:
            prebuild_id: The id of the prebuild, or the prebuild itself.
            until: The goal of the wait: a phase, any of several, or a function that decides about a prebuild (for an
                asynchronous client it may be asynchronous). A phase is given as `PrebuildPhase.RUNNING` or `"running"`,
                for example. A phase also counts as reached when a later phase on the way to COMPLETED is seen, as
                CANCELLING does when CANCELLED is seen.
            timeout: The time to wait, in seconds or as a `timedelta`; None for no limit. The default is a little
                longer than the two hours that a prebuild may take.
            on_update: Called with the prebuild when it is first seen, and after each change. An exception that it
                raises ends the wait. For an asynchronous client it may be asynchronous.
            poll_interval: The longest pause between two polls. The first pauses are shorter; all vary by 10%.
            stalled_after: The time without any change after which to give up; None for never.

        Raises:
            PrebuildFailedError: the prebuild failed.
            PrebuildCancelledError: it was cancelled.
            PrebuildDeletedError: it was deleted during the wait.
            StalledError: nothing has changed for `stalled_after`.
            WaitTimeoutError: it is still active after `timeout`.
            NotFoundError: the prebuild does not exist.
            CallError: the service rejects the polls, for lack of permission for instance.
        """
        from prebuilds.waiting import wait

        return self._driver.run(
            wait(
                self._executor,
                prebuild_id,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    def wait_all(
        self,
        prebuilds: Iterable[str | models.Prebuild],
        *,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> list[models.Prebuild]:
        """Wait for many prebuilds at once, until each is COMPLETED or has come to another end.

        The prebuilds are polled with lists of their projects, a hundred per page; a prebuild that its list does not
        show is polled individually. A prebuild that fails does not end the wait for the others.

        Args:
            prebuilds: The ids of the prebuilds, or the prebuilds themselves.
            until: The goal of the wait; see `wait`.
            timeout: The time to wait for all of them; None for no limit.
            on_update: Called with each prebuild when it is first seen, and after each of its changes.
            poll_interval: The longest pause between two polls of the same prebuild.
            stalled_after: The time without any change after which to give up on a prebuild; None for never.

        Returns:
            The prebuilds, in the order in which they were given.

        Raises:
            WaitManyError: some did not complete. The error holds the completed prebuilds, and an error for each other
                prebuild.
        """
        from prebuilds.waiting_for_many import wait_all

        return self._driver.run(
            wait_all(
                self._executor,
                prebuilds,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    def wait_warm_pool(
        self,
        warm_pool_id: str | models.WarmPool,
        *,
        until: Goal[models.WarmPool] = WarmPoolPhase.READY,
        timeout: Seconds | None = DEFAULT_POOL_WAIT,
        on_update: Callable[[models.WarmPool], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.WarmPool:
        """Wait until a warm pool is READY, or until it reaches `until`.

        A pool stays PENDING until its project has a prebuild to start from. A DEGRADED pool may recover, and is waited
        for.

        Args:
            warm_pool_id: The id of the pool, or the pool itself.
            until: The goal of the wait: a phase (`"deleted"` for the end of a deletion), any of several, or a function
                that decides about a pool (for an asynchronous client it may be asynchronous).
            timeout: The time to wait; None for no limit.
            on_update: Called with the pool when it is first seen, and after each change; see `wait`.
            poll_interval: The longest pause between two polls. The first pauses are shorter; all vary by 10%.
            stalled_after: The time without any change after which to give up; None for never.

        Raises:
            WarmPoolDeletedError: the pool was deleted, or is being deleted.
            StalledError: nothing has changed for `stalled_after`.
            WaitTimeoutError: the goal is not reached after `timeout`. The message states whether the pool is DEGRADED,
                and why.
            NotFoundError: the pool does not exist.
            CallError: the service rejects the polls, for lack of permission for instance.
        """
        from prebuilds.waiting import wait_warm_pool

        return self._driver.run(
            wait_warm_pool(
                self._executor,
                warm_pool_id,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    def create_and_wait(
        self,
        project_id: str,
        *,
        environment_class_id: str | None = None,
        spec: models.PrebuildSpec | params.PrebuildSpecParam | None = None,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.Prebuild:
        """Start a prebuild, and wait until it is COMPLETED: `create` and `wait` in one.

        If the wait ends with an error, the prebuild is left as it is; the error has it, or a note with its id.

        Args:
            project_id: The project.
            environment_class_id: The environment class to run with. Defaults to the value of the project.
            spec: Further settings of the prebuild, its timeout for example.
            until: The goal of the wait; see `wait`.
            timeout: The time to wait; None for no limit. The call that starts the prebuild has the client's own
                timeout.
            on_update: Called with the prebuild when it is first seen, and after each change; see `wait`.
            poll_interval: The longest pause between two polls.
            stalled_after: The time without any change after which to give up; None for never.

        Raises:
            CallError: the prebuild could not be started; `maybe_executed` is true if it may exist despite the error.
            WaitError: it did not complete; see `wait`.
        """
        from prebuilds.waiting import create_and_wait

        return self._driver.run(
            create_and_wait(
                self._executor,
                project_id=project_id,
                environment_class_id=environment_class_id,
                spec=spec,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    def watch(
        self,
        prebuild_id: str | models.Prebuild,
        *,
        timeout: Seconds | None = DEFAULT_WAIT,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> Iterator[models.Prebuild]:
        """Follow a prebuild: yields it when it is first seen, and after each change, until it reaches its end.

        The last one is COMPLETED, FAILED or CANCELLED, or the last state before the prebuild was deleted. None of
        these raises. Transient failures are waited through, as by `wait`.

        Args:
            prebuild_id: The id of the prebuild, or the prebuild itself.
            timeout: The time to follow it; None for no limit.
            poll_interval: The longest pause between two polls. The first pauses are shorter; all vary by 10%.
            stalled_after: The time without any change after which to give up; None for never.

        Raises:
            StalledError: nothing has changed for `stalled_after`.
            WaitTimeoutError: the prebuild is still active after `timeout`.
            NotFoundError: the prebuild does not exist.
            CallError: the service rejects the polls, for lack of permission for instance.
        """
        from prebuilds.waiting import watch

        return self._driver.iterate(
            watch(
                self._executor, prebuild_id, timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after
            )
        )

    def logs(
        self, prebuild_id: str | models.Prebuild, *, follow: bool = True, timeout: Seconds | None = None
    ) -> Iterator[str]:
        """The lines of the log of a prebuild, without line ends.

        A prebuild has a log once its environment exists. While it is active, its log is followed: lines are yielded as
        they arrive, and the last one when the prebuild has ended. A lost connection is opened again, and lines that
        the server then repeats are left out. The token for the log is requested, and renewed when it expires.

        A line of more than a megabyte is yielded in pieces of a megabyte; each piece but the last ends with
        `prebuilds.LINE_CONTINUES`.

        Args:
            prebuild_id: The id of the prebuild, or the prebuild itself.
            follow: Whether to wait for more lines of an active prebuild. Without it, only the existing lines are
                yielded, possibly zero.
            timeout: The time to read, in seconds or as a `timedelta`; None for no limit.

        Raises:
            LogError: the log cannot be read, or not to its end. Deleting a prebuild while its log is being read is not
                an error.
            WaitTimeoutError: the log has not ended after `timeout`.
            NotFoundError: the prebuild does not exist.
            CallError: the service rejects the request for the token, for lack of permission for instance.
        """
        from prebuilds.logs.reading import logs

        return self._driver.iterate(logs(self._executor, prebuild_id, follow=follow, timeout=timeout))

    def cancel_active(
        self, project_id: str, *, environment_class_id: str | None = None, keep: Iterable[str] = ()
    ) -> list[models.Prebuild]:
        """Cancel all active prebuilds of a project, before a newer one is started for example.

        A prebuild that ends in the meantime is skipped.

        Args:
            project_id: The project.
            environment_class_id: Cancel only prebuilds of this environment class.
            keep: The ids of prebuilds to skip.

        Returns:
            The prebuilds that were cancelled, as the service returned them.

        Raises:
            CallError: the service rejects a request. Prebuilds cancelled before the error stay cancelled; the error has
                a note.
        """
        from prebuilds.maintenance import cancel_active

        return self._driver.run(
            cancel_active(self._executor, project_id, environment_class_id=environment_class_id, keep=keep)
        )

    def ensure_warm_pool(
        self,
        project_id: str,
        environment_class_id: str,
        min_size: int | None = None,
        max_size: int | None = None,
        *,
        timeout: Seconds | None = DEFAULT_POOL_WAIT,
    ) -> models.WarmPool:
        """Make sure that a project and environment class have a warm pool of a size.

        An existing pool is resized if necessary. While a deleted one still drains, no other can be created: it is
        waited for. Others may do the same at the same time.

        Args:
            project_id: The project.
            environment_class_id: The environment class, one of the project's prebuild classes.
            min_size: The number of instances to keep running at least; None leaves it to the pool, or to the service.
            max_size: The number of instances at most; None leaves it to the pool, or to the service.
            timeout: The time to wait for a deleted pool to drain; None for no limit.

        Returns:
            The pool, which may not be READY yet; `wait_warm_pool` waits for that.

        Raises:
            WaitTimeoutError: another pool still drains after `timeout`.
            AlreadyExistsError: after `timeout`, the service still reports that a pool exists, but does not list it.
            CallError: the service rejects a request, for a size out of bounds for instance.
        """
        from prebuilds.maintenance import ensure_warm_pool

        return self._driver.run(
            ensure_warm_pool(self._executor, project_id, environment_class_id, min_size, max_size, timeout=timeout)
        )

    def latest(self, project_id: str, environment_class_id: str | None = None) -> models.Prebuild | None:
        """The most recently completed prebuild of a project, or None.

        Args:
            project_id: The project.
            environment_class_id: Consider only prebuilds of this environment class.

        Raises:
            CallError: the service rejects a request.
        """
        from prebuilds.maintenance import latest

        return self._driver.run(latest(self._executor, project_id, environment_class_id))

    def prune(
        self,
        *,
        project_ids: Iterable[str] = (),
        environment_class_id: str | None = None,
        older_than: Seconds | None = None,
        keep: int = 1,
        dry_run: bool = False,
        on_delete: Callable[[models.Prebuild], object] | None = None,
    ) -> list[models.Prebuild]:
        """Delete old prebuilds that are COMPLETED, FAILED or CANCELLED.

        For each project and environment class, the `keep` prebuilds that completed last are kept, however old they
        are, so that environments still have something to start from.

        Args:
            project_ids: The projects to prune; none means all that the token can see.
            environment_class_id: Prune only prebuilds of this environment class.
            older_than: Delete only prebuilds that ended longer ago than this, in seconds or as a `timedelta`. None for
                any age.
            keep: The number of completed prebuilds to keep for each project and environment class; 0 keeps none.
            dry_run: Delete nothing; only return the prebuilds that would be deleted.
            on_delete: Called with each prebuild after it was deleted. For an asynchronous client it may be
                asynchronous.

        Returns:
            The prebuilds that were deleted (or would be), oldest first.

        Raises:
            CallError: the service rejects a request. Prebuilds deleted before the error stay deleted; the error has a
                note.
        """
        from prebuilds.maintenance import prune

        return self._driver.run(
            prune(
                self._executor,
                project_ids=project_ids,
                environment_class_id=environment_class_id,
                older_than=older_than,
                keep=keep,
                dry_run=dry_run,
                on_delete=on_delete,
            )
        )


class AsyncPrebuilds(AsyncCalls, AsyncPrebuildsResource):
    """The methods of the service, and more, for asynchronous code; `client.prebuilds` is one."""

    async def wait(
        self,
        prebuild_id: str | models.Prebuild,
        *,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.Prebuild:
        """Wait until a prebuild is COMPLETED, or until it reaches `until`; see `Prebuilds.wait`."""
        from prebuilds.waiting import wait

        return await self._driver.run(
            wait(
                self._executor,
                prebuild_id,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    async def wait_all(
        self,
        prebuilds: Iterable[str | models.Prebuild],
        *,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> list[models.Prebuild]:
        """Wait for many prebuilds at once, until each has come to an end; see `Prebuilds.wait_all`."""
        from prebuilds.waiting_for_many import wait_all

        return await self._driver.run(
            wait_all(
                self._executor,
                prebuilds,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    async def wait_warm_pool(
        self,
        warm_pool_id: str | models.WarmPool,
        *,
        until: Goal[models.WarmPool] = WarmPoolPhase.READY,
        timeout: Seconds | None = DEFAULT_POOL_WAIT,
        on_update: Callable[[models.WarmPool], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.WarmPool:
        """Wait until a warm pool is READY, or until it reaches `until`; see `Prebuilds.wait_warm_pool`."""
        from prebuilds.waiting import wait_warm_pool

        return await self._driver.run(
            wait_warm_pool(
                self._executor,
                warm_pool_id,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    async def create_and_wait(
        self,
        project_id: str,
        *,
        environment_class_id: str | None = None,
        spec: models.PrebuildSpec | params.PrebuildSpecParam | None = None,
        until: Goal[models.Prebuild] = PrebuildPhase.COMPLETED,
        timeout: Seconds | None = DEFAULT_WAIT,
        on_update: Callable[[models.Prebuild], object] | None = None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> models.Prebuild:
        """Start a prebuild, and wait until it is COMPLETED; see `Prebuilds.create_and_wait`."""
        from prebuilds.waiting import create_and_wait

        return await self._driver.run(
            create_and_wait(
                self._executor,
                project_id=project_id,
                environment_class_id=environment_class_id,
                spec=spec,
                until=until,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
                stalled_after=stalled_after,
            )
        )

    def watch(
        self,
        prebuild_id: str | models.Prebuild,
        *,
        timeout: Seconds | None = DEFAULT_WAIT,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> AsyncIterator[models.Prebuild]:
        """Follow a prebuild: yields it when it is first seen, and after each change; see `Prebuilds.watch`."""
        from prebuilds.waiting import watch

        return self._driver.iterate(
            watch(
                self._executor, prebuild_id, timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after
            )
        )

    def logs(
        self, prebuild_id: str | models.Prebuild, *, follow: bool = True, timeout: Seconds | None = None
    ) -> AsyncIterator[str]:
        """The lines of the log of a prebuild, without line ends; see `Prebuilds.logs`."""
        from prebuilds.logs.reading import logs

        return self._driver.iterate(logs(self._executor, prebuild_id, follow=follow, timeout=timeout))

    async def cancel_active(
        self, project_id: str, *, environment_class_id: str | None = None, keep: Iterable[str] = ()
    ) -> list[models.Prebuild]:
        """Cancel all active prebuilds of a project; see `Prebuilds.cancel_active`."""
        from prebuilds.maintenance import cancel_active

        return await self._driver.run(
            cancel_active(self._executor, project_id, environment_class_id=environment_class_id, keep=keep)
        )

    async def ensure_warm_pool(
        self,
        project_id: str,
        environment_class_id: str,
        min_size: int | None = None,
        max_size: int | None = None,
        *,
        timeout: Seconds | None = DEFAULT_POOL_WAIT,
    ) -> models.WarmPool:
        """Make sure that a project and class have a warm pool of a size; see `Prebuilds.ensure_warm_pool`."""
        from prebuilds.maintenance import ensure_warm_pool

        return await self._driver.run(
            ensure_warm_pool(self._executor, project_id, environment_class_id, min_size, max_size, timeout=timeout)
        )

    async def latest(self, project_id: str, environment_class_id: str | None = None) -> models.Prebuild | None:
        """The most recently completed prebuild of a project, or None; see `Prebuilds.latest`."""
        from prebuilds.maintenance import latest

        return await self._driver.run(latest(self._executor, project_id, environment_class_id))

    async def prune(
        self,
        *,
        project_ids: Iterable[str] = (),
        environment_class_id: str | None = None,
        older_than: Seconds | None = None,
        keep: int = 1,
        dry_run: bool = False,
        on_delete: Callable[[models.Prebuild], object] | None = None,
    ) -> list[models.Prebuild]:
        """Delete old prebuilds that are COMPLETED, FAILED or CANCELLED; see `Prebuilds.prune`."""
        from prebuilds.maintenance import prune

        return await self._driver.run(
            prune(
                self._executor,
                project_ids=project_ids,
                environment_class_id=environment_class_id,
                older_than=older_than,
                keep=keep,
                dry_run=dry_run,
                on_delete=on_delete,
            )
        )


def resource(base: type[BaseT], executor: CallExecutor, driver: Driver) -> BaseT:
    """The methods of a service without handwritten methods on top of them."""
    kind = type(
        base.__name__.removesuffix("Resource"), (Calls, base), {"__doc__": base.__doc__, "__module__": base.__module__}
    )
    return cast("BaseT", kind(executor, driver))


def async_resource(base: type[BaseT], executor: CallExecutor, driver: AsyncDriver) -> BaseT:
    """The asynchronous methods of a service without handwritten methods on top of them."""
    kind = type(
        base.__name__.removesuffix("Resource"),
        (AsyncCalls, base),
        {"__doc__": base.__doc__, "__module__": base.__module__},
    )
    return cast("BaseT", kind(executor, driver))
