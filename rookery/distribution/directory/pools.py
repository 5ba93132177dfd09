"""The acts on pools: what an administrator does, and what a node says of its own.

As `administration.py`: text is checked here, every act has committed when it returns, and raises RookeryError.
"""

from rookery.base.config.kinds import NAME, parse_endpoint
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory import acts
from rookery.distribution.directory import rules_pools as rp
from rookery.distribution.directory.addresses import canonical_domain
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.rules import no_pool, refused
from rookery.distribution.directory.values import Domain, Pool, PoolBackend, PoolKind

IMAP_PORT, LMTP_PORT = 143, 24


def _name(text: str) -> str:
    try:
        return NAME.read(text)
    except ValueError:
        raise RookeryError(Cause.INVALID, f"the pool {text[:80]!r}: expected {NAME.expected}") from None


def _reached(text: str, port: int, what: str) -> str:
    """Canonical host:port; "" stays."""
    try:
        return str(parse_endpoint(text, port)) if text.strip() else ""
    except ValueError:
        raise RookeryError(
            Cause.INVALID, f"{what} {text[:80]!r}: expected host:port such as mail.example.org:{port}"
        ) from None


class PoolAdministration:
    """Acts on the pools of one directory."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def need(self, name: str) -> Pool:
        for pool in self._directory.pools():
            if pool.name == name:
                return pool
        raise refused(no_pool(name))

    async def add(self, name: str, kind: PoolKind, address: str, lmtp: str) -> Pool:
        """Before its nodes have registered. An address that is given counts in place of those that they will give."""
        self._need_shared()
        act = rp.AddPool(
            _name(name),
            kind,
            _reached(address, IMAP_PORT, "the address"),
            _reached(lmtp, LMTP_PORT, "the LMTP address"),
            self._directory.now(),
        )
        return await self._directory.act(acts.ADD_POOL, act)

    def _need_shared(self) -> None:
        if not self._directory.shared:
            raise RookeryError(
                Cause.UNSUPPORTED,
                "the directory is kept in the folder of this site, where no node of another pool can ask it; several"
                " pools need directory.database",
            )

    async def change(
        self,
        name: str,
        *,
        address: str | None = None,
        lmtp: str | None = None,
        open: bool | None = None,
        forget_store: bool = False,
        forget_backend: str = "",
    ) -> Pool:
        """None leaves as it is; "" goes back to the addresses of the backends."""
        act = rp.ChangePool(
            name,
            self._directory.now(),
            None if address is None else _reached(address, IMAP_PORT, "the address"),
            None if lmtp is None else _reached(lmtp, LMTP_PORT, "the LMTP address"),
            open,
            forget_store,
            forget_backend,
        )
        return await self._directory.act(acts.CHANGE_POOL, act)

    async def remove(self, name: str) -> None:
        await self._directory.act(acts.REMOVE_POOL, rp.RemovePool(name, self._directory.now()))

    async def assign_domain(self, domain: str, pool: str) -> Domain:
        """Where new accounts of the domain are made; "": as the policy says."""
        act = rp.AssignDomain(canonical_domain(domain), pool, self._directory.now())
        return await self._directory.act(acts.ASSIGN_DOMAIN, act)

    async def add_local(self, domain: str, pool: str = "") -> Domain:
        """Made with all its accounts in that pool alone; "": this node's."""
        return await self._local(domain, pool or self._own(), new=True)

    async def make_local(self, domain: str, pool: str) -> Domain:
        """Raises RookeryError(IN_USE) naming an account that is elsewhere."""
        return await self._local(domain, pool or self._own())

    async def share(self, domain: str) -> Domain:
        """Its accounts may be in any pool from now on."""
        return await self._local(domain, "")

    async def _local(self, domain: str, pool: str, *, new: bool = False) -> Domain:
        act = rp.LocalDomain(canonical_domain(domain), pool, self._directory.now(), new)
        return await self._directory.act(acts.LOCAL_DOMAIN, act)

    def _own(self) -> str:
        for pool in self._directory.pools():
            if pool.id == self._directory.here:
                return pool.name
        raise RookeryError(Cause.CONFLICT, "this node has no pool that the directory knows; name one with --pool")

    # --- what a node says of its own ---

    def recognise(self, store: str) -> None:
        """This node's pool is the one of its store, if the directory knows it; one that nobody shares has one pool."""
        known, shared = self._directory.pools(), self._directory.shared
        own = [pool for pool in known if pool.store == store] if shared else known
        self._directory.here = own[0].id if own else 0

    async def register(
        self,
        name: str,
        kind: PoolKind,
        store: str,
        backend: PoolBackend,
        *,
        has_mail: bool = True,
        generation: int = 1,
    ) -> Pool:
        """This node's pool from now on. `has_mail`: of accounts that there are already, if there are any.

        Raises RookeryError CONFLICT: the name belongs to another store, the accounts to another pool, or another copy
        of the store was promoted.
        """
        directory = self._directory
        act = rp.RegisterPool(
            _name(name), kind, store, backend,
            alone=not directory.shared, first=has_mail, at=directory.now(), generation=generation,
        )  # fmt: skip
        pool = await directory.act(acts.REGISTER_POOL, act)
        directory.here = pool.id
        return pool

    def confirm(self, store: str, generation: int) -> None:
        """Any thread. Raises RookeryError CONFLICT once another copy of this store was promoted."""
        for pool in self._directory.pools():
            stale = rp.outdated(pool, generation) if pool.store == store else None
            if stale is not None:
                raise refused(stale)

    async def promote(self, store: str, generation: int) -> Pool:
        """Returns the pool with its new generation. Raises RookeryError NOT_FOUND, UNSUPPORTED."""
        if not self._directory.shared:
            raise RookeryError(
                Cause.UNSUPPORTED,
                "the directory is kept in the folder of this site; a copy is a site of its own, and needs no more",
            )
        return await self._directory.act(acts.PROMOTE_STORE, rp.PromoteStore(store, generation, self._directory.now()))

    async def report_free(self, free: int) -> None:
        """Octets that are free for this node's pool."""
        await self._directory.act(acts.REPORT_FREE, rp.ReportFree(self._directory.here, free))
