"""The commands that show what a store did and deleted: ``seqstore audit`` and ``seqstore statement``."""

from __future__ import annotations

import argparse
import sys

from seqstore import canonical
from seqstore.audit_records import AuditHead, AuditRecord
from seqstore.command_parts import (
    OK,
    Verbs,
    add_group,
    add_root_key,
    add_signing_key,
    complain,
    load_public_key,
    load_signing_key,
    open_audit,
    open_catalog,
    open_store,
    read_file,
    require_new,
    terminal_width,
    write_file,
)
from seqstore.errors import ConfigError, EvidenceError, FormatError, NotFoundError
from seqstore.paper import plain, tell_time
from seqstore.signing import Sealed
from seqstore.statement import Statement
from seqstore.statement_page import is_in_use, render_html, render_text

_AUDIT_DESCRIPTION = """\
Shows and checks the audit log of a store: who did what, when and why. Each record holds the hash of the one
before it, and where the log ends stands in the catalog a second time. What somebody changed who knows that
shows only against a head that was exported earlier and kept elsewhere.
"""

_AUDIT_EPILOG = """\
examples:
  seqstore audit show lab.store
  seqstore audit export lab.store --key private.pem -o head.json
  seqstore audit verify lab.store --head head.json --key public.pem

exit status: 0 if all went well, 1 if the log does not hold, 2 if the command cannot be used as it was given.
"""

_STATEMENT_DESCRIPTION = """\
Makes, shows and checks erasure statements: what became of every physical copy of something that was deleted.
To verify one nothing but the file and the public key is needed; without the key the sums are checked alone.
"""

_STATEMENT_EPILOG = """\
examples:
  seqstore statement list lab.store
  seqstore statement make lab.store 1 --key private.pem -o statement.json
  seqstore statement verify statement.json --key public.pem
  seqstore statement show statement.json --html statement.html

keys:
  openssl genpkey -algorithm ed25519 -out private.pem
  openssl pkey -in private.pem -pubout -out public.pem

exit status: 0 if all went well, 1 if a statement does not hold, 2 if the command cannot be used.
"""


def add_commands(verbs: Verbs) -> None:
    """Describe the commands to the parser."""
    audit = add_group(
        verbs, "audit", "who did what to a store, when and why", _AUDIT_DESCRIPTION, _AUDIT_EPILOG
    )
    show = audit.add_parser("show", help="list the records")
    show.add_argument("store", metavar="STORE", help="directory of the store, which may be open elsewhere")
    show.add_argument("--json", action="store_true", help="one record a line, as it was hashed")
    show.add_argument("--first", metavar="NUMBER", type=int, default=1, help="begin with this record")
    show.set_defaults(run=_audit_show)
    verify = audit.add_parser("verify", help="check every record, and an exported head")
    verify.add_argument("store", metavar="STORE", help="directory of the store, which may be open elsewhere")
    verify.add_argument("--head", metavar="FILE", help="head that was exported")
    verify.add_argument("--key", metavar="PUB", help="public key that the head is signed with")
    verify.set_defaults(run=_audit_verify)
    export = audit.add_parser("export", help="write the head of the log, signed")
    export.add_argument("store", metavar="STORE", help="directory of the store, which may be open elsewhere")
    add_signing_key(export)
    export.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    export.set_defaults(run=_audit_export)

    statement = add_group(
        verbs, "statement", "what became of what was deleted", _STATEMENT_DESCRIPTION, _STATEMENT_EPILOG
    )
    make = statement.add_parser("make", help="make a statement of an erasure")
    make.add_argument(
        "store", metavar="STORE", help="directory of the store, which must not be open elsewhere"
    )
    make.add_argument("erasure", metavar="ERASURE", type=int, help="its number: `seqstore statement list`")
    add_signing_key(make)
    make.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    make.add_argument("--actor", help="who makes it (default: the user of the operating system)")
    add_root_key(make)
    make.set_defaults(run=_statement_make)
    listing = statement.add_parser("list", help="list the erasures of a store")
    listing.add_argument("store", metavar="STORE", help="directory of the store")
    add_root_key(listing)
    listing.set_defaults(run=_statement_list)
    check = statement.add_parser("verify", help="check a statement")
    check.add_argument("file", metavar="FILE", help="the statement")
    check.add_argument(
        "--key",
        metavar="PUB",
        help="public key of whoever signed it; without it nobody knows who did",
    )
    check.add_argument("--store", metavar="STORE", help="compare with the audit log of this store, too")
    check.set_defaults(run=_statement_verify)
    view = statement.add_parser("show", help="show a statement as text, or as a page")
    view.add_argument("file", metavar="FILE", help="the statement")
    view.add_argument("--key", metavar="PUB", help="public key to verify it with")
    form = view.add_mutually_exclusive_group()
    form.add_argument("--html", metavar="FILE", help="write a page to a new file")
    form.add_argument("--signed-bytes", metavar="FILE", help="write the bytes that are signed to a new file")
    form.add_argument("--signature", metavar="FILE", help="write the signature, 64 bytes, to a new file")
    view.set_defaults(run=_statement_show)


# ---- audit --------------------------------------------------------------------------------------


def _audit_show(arguments: argparse.Namespace) -> int:
    catalog, is_any = open_catalog(arguments.store), False
    try:
        for record in open_audit(catalog).records(arguments.first):
            is_any = True
            if arguments.json:
                sys.stdout.write(canonical.encode({**record.to_dict(), "hash": record.hash}).decode() + "\n")
            else:
                sys.stdout.write(_line(record) + "\n")
        if not is_any and arguments.first > 1:
            raise ConfigError(
                f"there is no record {arguments.first}; the last one is {len(open_audit(catalog))}"
            )
    except EvidenceError as error:
        return complain(error)
    finally:
        catalog.close()
    return OK


def _line(record: AuditRecord) -> str:
    subject = record.subject
    what = f"{subject['kind']} {subject['number']}" if subject.get("number") else str(subject.get("kind", ""))
    name = f" {subject['name']!r}" if subject.get("name") else ""
    reason = f": {record.reason}" if record.reason else ""
    when = tell_time(record.time_ns)
    return plain(f"{record.number:>6}  {when}  {record.act:<18}  {what}{name}  by {record.actor}{reason}")


def _audit_verify(arguments: argparse.Namespace) -> int:
    if (arguments.head is None) != (arguments.key is None):
        raise ConfigError("--head and --key need each other")
    catalog = open_catalog(arguments.store)
    try:
        head = None
        if arguments.head is not None:
            sealed = Sealed.parse(read_file(arguments.head))
            sealed.verify(load_public_key(arguments.key))
            head = AuditHead.from_document(sealed.document)
        now = open_audit(catalog).verify(head)
    except FormatError as error:
        return complain(error, arguments.head or "")
    except EvidenceError as error:
        return complain(error)
    finally:
        catalog.close()
    if now is None:
        sys.stdout.write("the audit log is empty\n")
        return OK
    sys.stdout.write(f"the audit log holds: {now.number} records, the last one {now.hash}\n")
    if head is None:
        sys.stdout.write(
            "without an exported head nobody notices that the catalog is an older one, or was written anew\n"
        )
    else:
        sys.stdout.write(f"all {head.number} records of the exported head are there\n")
    return OK


def _audit_export(arguments: argparse.Namespace) -> int:
    require_new(arguments.output)
    key, catalog = load_signing_key(arguments), open_catalog(arguments.store)
    try:
        head = open_audit(catalog).verify()
        if head is None:
            raise ConfigError("the audit log is empty; there is nothing to export")
        last = open_audit(catalog)[head.number]
    except EvidenceError as error:
        return complain(error)
    finally:
        catalog.close()
    write_file(arguments.output, Sealed.make(head.to_document(last.time_ns), key).to_json())
    return OK


# ---- statements -----------------------------------------------------------------------------------


def _statement_make(arguments: argparse.Namespace) -> int:
    require_new(arguments.output)
    key = load_signing_key(arguments)
    with open_store(arguments.store, arguments.root_key, actor=arguments.actor) as store:
        try:
            statement = store.statement(arguments.erasure, key=key)
        except NotFoundError as error:
            raise ConfigError(f"{error}; `seqstore statement list` shows them") from error
    write_file(arguments.output, statement.to_json())
    return OK


def _statement_list(arguments: argparse.Namespace) -> int:
    with open_store(arguments.store, arguments.root_key, read_only=True) as store:
        for erasure in store.erasures:
            subject, request = erasure.subject, erasure.request
            sys.stdout.write(
                plain(
                    f"{erasure.id:>4}  {tell_time(request.time_ns)}  {erasure.state:<9}"
                    f"  {subject.kind} {subject.number} {subject.name!r}  by {request.actor}"
                )
                + "\n"
            )
    return OK


def _statement_verify(arguments: argparse.Namespace) -> int:
    key = None if arguments.key is None else load_public_key(arguments.key)
    try:
        statement = Statement.from_json(read_file(arguments.file))
        if key is None:
            statement.check()
        else:
            statement.verify(key)
        if arguments.store is not None:
            catalog = open_catalog(arguments.store)
            try:
                statement.verify_in(open_audit(catalog))
            finally:
                catalog.close()
    except (EvidenceError, FormatError) as error:
        return complain(error, arguments.file)
    if key is not None:
        sys.stdout.write(f"the statement is signed by {key.fingerprint} and its sums come out\n")
    elif statement.sealed.signature is None:
        sys.stdout.write(
            "the sums of the statement come out; it is not signed, and anybody can have made it\n"
        )
    else:
        sys.stdout.write(
            "the sums come out; the signature was NOT checked, and anybody can have made the statement: give"
            " --key\n"
        )
    sys.stdout.write(plain(_tell_state(statement)) + "\n")
    return OK


def _tell_state(statement: Statement) -> str:
    """Say in a line what became of all blocks."""
    document = statement.document
    totals = document["totals"]
    parts = ["finished" if statement.complete else f"not finished, {totals['pending']} blocks pending"]
    if document["pending"] and not is_in_use(document):
        parts.append(f"drive {document['drive']['number']} is not in use: {document['drive']['why']}")
    if totals["late"]:
        parts.append(f"{totals['late']} of them too late")
    if totals["unsure"]:
        parts.append(f"of {totals['unsure']} of them it is not known whether in time")
    others = [str(entry["drive"]) for entry in document.get("elsewhere", ()) if not entry["finished"]]
    if others:
        parts.append(f"not finished on drive {', '.join(others)}")
    kept = sorted(f"{entry['kind']} {entry['name']!r}" for entry in document["kept"])
    if kept:
        parts.append(f"kept by {', '.join(kept)}")
    return f"{totals['blocks']} blocks: {', '.join(parts)}"


def _statement_show(arguments: argparse.Namespace) -> int:
    try:
        statement = Statement.from_json(read_file(arguments.file))
        verified = None
        if arguments.key is not None:
            key = load_public_key(arguments.key)
            statement.verify(key)
            verified = key.fingerprint
        statement.check()
    except (EvidenceError, FormatError) as error:
        return complain(error, arguments.file)
    if arguments.signature is not None:
        if statement.sealed.signature is None:
            raise ConfigError("the statement is not signed")
        write_file(arguments.signature, statement.sealed.signature)
    elif arguments.signed_bytes is not None:
        write_file(arguments.signed_bytes, statement.sealed.data)
    elif arguments.html is not None:
        write_file(arguments.html, render_html(statement, verified=verified))
    else:
        sys.stdout.write(render_text(statement, verified=verified, width=terminal_width()))
    return OK
