"""The command ``seqstore certificate``: makes, verifies, shows, renders and sums up certificates."""

from __future__ import annotations

import argparse
import json
import sys

from seqstore.audit_records import check_text
from seqstore.certificate import Certificate
from seqstore.certificate_batch import make_paper as make_summary_paper
from seqstore.certificate_batch import summarize
from seqstore.certificate_content import Issued, conclude
from seqstore.certificate_page import render_html, render_text, tell_verdict
from seqstore.certificate_parts import (
    Assurance,
    AssuranceKind,
    Category,
    Confidentiality,
    Destination,
    DestinationKind,
    MediumFacts,
    Particulars,
    Person,
    Profile,
    Source,
    Validation,
)
from seqstore.clock import Clock, SystemClock
from seqstore.command_parts import (
    FAILED,
    OK,
    Verbs,
    add_group,
    add_signing_key,
    complain,
    load_public_key,
    load_signing_key,
    open_audit,
    open_catalog,
    read_file,
    read_outcomes,
    require_new,
    terminal_width,
    write_file,
)
from seqstore.errors import ConfigError, EvidenceError, FormatError
from seqstore.paper import to_html, to_text
from seqstore.sanitize.result import SanitizationOutcome

_CATEGORIES = [category.value for category in Category if category is not Category.NONE]

_DESCRIPTION = """\
Certificates of sanitization: what a drive was, what was done to it, and what may be said of it now. The JSON
text is the certificate; pages and PDF are renderings. To verify one nothing but the file and the public key
is needed. A certificate of a failure is a good certificate, and says that the drive is not sanitized.
"""

_EPILOG = """\
examples:
  seqstore sanitize old.img --outcome outcome.json
  seqstore certificate make outcome.json --key private.pem --media-type ssd \\
      --requested clear --sanitized-by 'Ada Byron, technician' \\
      --verified-by 'Grace Murray, auditor' -o certificate.json
  seqstore certificate verify certificate.json --key public.pem --require clear
  seqstore certificate render certificate.json --pdf certificate.pdf
  seqstore certificate summary *.json --key public.pem --html summary.html

exit status: 0 if all went well, 1 if a certificate does not hold or says less than was required, 2 if the
command cannot be used as it was given.
"""


def add_commands(verbs: Verbs) -> None:
    """Describe the command to the parser."""
    group = add_group(verbs, "certificate", "what became of retired drives", _DESCRIPTION, _EPILOG)
    _add_make(group)
    _add_validate(group)
    verify = group.add_parser("verify", help="check certificates: signature, sums, and whether they follow")
    verify.add_argument("files", metavar="FILE", nargs="+", help="the certificates")
    verify.add_argument("--key", metavar="PUB", required=True, help="public key of whoever signed them")
    verify.add_argument("--serial", help="of the drive in hand")
    verify.add_argument("--require", choices=_CATEGORIES, help="fail unless so much was achieved")
    verify.add_argument("--store", metavar="STORE", help="compare with the audit log of this store, too")
    verify.set_defaults(run=_verify)
    show = group.add_parser("show", help="show a certificate as text")
    show.add_argument("file", metavar="FILE", help="the certificate")
    show.add_argument("--key", metavar="PUB", help="public key to verify it with")
    show.set_defaults(run=_show)
    render = group.add_parser("render", help="write a certificate as a page or PDF, or its signed bytes")
    render.add_argument("file", metavar="FILE", help="the certificate")
    render.add_argument("--key", metavar="PUB", help="public key to verify it with")
    render.add_argument("--html", metavar="FILE", help="write a page to a new file")
    render.add_argument(
        "--pdf", metavar="FILE", help="write PDF to a new file, with the certificate attached"
    )
    render.add_argument(
        "--signed-bytes", metavar="FILE", help="write the bytes that are signed to a new file"
    )
    render.add_argument("--signature", metavar="FILE", help="write the signature, 64 bytes, to a new file")
    render.set_defaults(run=_render)
    summary = group.add_parser("summary", help="sum up the certificates of many drives")
    summary.add_argument("files", metavar="FILE", nargs="+", help="the certificates")
    summary.add_argument("--key", metavar="PUB", help="public key to verify them with")
    summary.add_argument(
        "--expect", metavar="SERIAL", action="append", default=[], help="a drive that has to be among them"
    )
    summary.add_argument("--html", metavar="FILE", help="write a page to a new file")
    summary.add_argument("--pdf", metavar="FILE", help="write PDF to a new file")
    summary.add_argument("--json", metavar="FILE", help="write it for programs to a new file")
    summary.set_defaults(run=_summary)


def _add_make(group: Verbs) -> None:
    make = group.add_parser("make", help="make a certificate of what `seqstore sanitize --outcome` wrote")
    make.add_argument("outcome", metavar="OUTCOME", help="the file that it wrote")
    add_signing_key(make)
    make.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    make.add_argument("--serial", help="which drive, if the file tells of several")
    make.add_argument("--requested", choices=_CATEGORIES, required=True, help="what was asked for")
    make.add_argument("--profile", choices=["r2", "r1"], default="r2", help="of NIST SP 800-88 (default: r2)")
    make.add_argument("--sanitized-by", metavar="PERSON", required=True, help="'NAME, ROLE'")
    make.add_argument("--verified-by", metavar="PERSON", help="'NAME, ROLE': somebody else")
    for name, words in (
        ("media-type", "hdd, ssd, hybrid, usb, file, ... (default: what the drive says)"),
        ("manufacturer", "(default: what the drive says)"),
        ("model", "(default: what the drive says)"),
        ("property-number", "of the drive in the owner's books"),
        ("geometry", "zones, sectors or flash, in words"),
        ("number", "of the certificate"),
        ("organization", "of the persons"),
        ("place", "where it was done"),
        ("source", "store or machine that it was part of"),
        ("slot", "where it was plugged in"),
        ("before", "category of what was on it, in the owner's words"),
        ("after", "category of the drive from now on"),
        ("destination-details", "to whom, by what order"),
        ("remarks", "anything else"),
    ):
        make.add_argument(f"--{name}", default="", metavar="TEXT", help=words)
    kinds = [kind.value for kind in DestinationKind]
    make.add_argument(
        "--destination",
        choices=kinds,
        default="unknown",
        metavar="WHERE",
        help=f"where it goes: {', '.join(kinds)}",
    )
    make.add_argument(
        "--assure",
        metavar=("WHAT", "WHO", "WHY"),
        nargs=3,
        action="append",
        default=[],
        help=f"what the organisation vouches for: {', '.join(kind.value for kind in AssuranceKind)}",
    )
    make.add_argument("--actor", default="", help="who issues it (default: whoever sanitized the drive)")
    make.set_defaults(run=_make)


def _add_validate(group: Verbs) -> None:
    validate = group.add_parser("validate", help="add the organisation's decision to a certificate")
    validate.add_argument("file", metavar="FILE", help="the certificate, which a new one takes the place of")
    add_signing_key(validate)
    validate.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    validate.add_argument("--by", metavar="PERSON", required=True, help="'NAME, ROLE'")
    decision = validate.add_mutually_exclusive_group(required=True)
    decision.add_argument("--accept", action="store_true", help="the result is good enough")
    decision.add_argument("--refuse", action="store_true", help="it is not")
    validate.add_argument("--remarks", default="", metavar="TEXT", help="why, or with what conditions")
    validate.set_defaults(run=_validate)


# ---- making --------------------------------------------------------------------------------------


def _make(arguments: argparse.Namespace) -> int:
    require_new(arguments.output)
    key, clock = load_signing_key(arguments), SystemClock()
    outcome = _pick(read_outcomes(arguments.outcome), arguments.serial)
    drive = outcome.before
    said = Particulars(
        number=arguments.number,
        profile=Profile.NIST_R2 if arguments.profile == "r2" else Profile.NIST_R1,
        requested=Category(arguments.requested),
        medium=MediumFacts(
            manufacturer=arguments.manufacturer or ("" if drive is None else drive.vendor),
            model=arguments.model or ("" if drive is None else drive.model),
            serial=_serial(outcome, arguments.serial),
            property_number=arguments.property_number,
            media_type=arguments.media_type or ("" if drive is None else drive.media_type) or "unknown",
            geometry=arguments.geometry,
        ),
        source=Source(store=arguments.source, slot=arguments.slot),
        confidentiality=Confidentiality(before=arguments.before, after=arguments.after),
        sanitized_by=_person(arguments.sanitized_by, arguments, clock),
        verified_by=None
        if arguments.verified_by is None
        else _person(arguments.verified_by, arguments, clock),
        assurances=tuple(_assurance(*texts) for texts in arguments.assure),
        destination=Destination(
            kind=DestinationKind(arguments.destination), details=arguments.destination_details
        ),
        remarks=arguments.remarks,
    )
    claimed = conclude(said, outcome).achieved.category
    if said.verified_by is None and claimed is not Category.NONE:
        raise ConfigError(
            f"the outcome bears out {claimed.value}, and a certificate of that names who verified it: give"
            " --verified-by 'NAME, ROLE', another person than --sanitized-by"
        )
    actor = arguments.actor or _split(arguments.sanitized_by)[0]
    try:
        issued = Issued(time_ns=clock.now_ns(), actor=check_text(actor, "actor"))
        certificate = Certificate.issue(said, outcome, issued=issued, key=key)
    except EvidenceError as error:
        return complain(error)
    write_file(arguments.output, certificate.to_json())
    return OK


def _pick(outcomes: tuple[SanitizationOutcome, ...], serial: str | None) -> SanitizationOutcome:
    if serial is None and len(outcomes) == 1:
        return outcomes[0]
    known = {_serial(outcome, None): outcome for outcome in outcomes if outcome.before is not None}
    if serial is None or serial not in known:
        raise ConfigError(f"the file tells of the drives {', '.join(sorted(known))}; give one as --serial")
    return known[serial]


def _serial(outcome: SanitizationOutcome, said: str | None) -> str:
    if said is not None:
        return said
    if outcome.before is None:
        raise ConfigError("the drive did not say its serial number; give it as --serial")
    return outcome.before.serial


def _person(text: str, arguments: argparse.Namespace, clock: Clock) -> Person:
    name, role = _split(text)
    return Person(
        name=name,
        role=role,
        organization=getattr(arguments, "organization", ""),
        place=getattr(arguments, "place", ""),
        time_ns=clock.now_ns(),
    )


def _split(text: str) -> tuple[str, str]:
    name, comma, role = text.partition(",")
    if not comma or not name.strip() or not role.strip():
        raise ConfigError(f"the person is {text!r}; 'NAME, ROLE' is expected")
    return name.strip(), role.strip()


def _assurance(what: str, who: str, why: str) -> Assurance:
    known = {kind.value: kind for kind in AssuranceKind}
    if what not in known:
        raise ConfigError(f"--assure is of {what!r}; one of {', '.join(known)} is expected")
    return Assurance(kind=known[what], said_by=who, reference=why)


def _validate(arguments: argparse.Namespace) -> int:
    require_new(arguments.output)
    key, clock = load_signing_key(arguments), SystemClock()
    try:
        certificate = Certificate.from_json(read_file(arguments.file))
        certificate.verify(key.public)
        person = _person(arguments.by, arguments, clock)
        decision = Validation(person=person, accepted=arguments.accept, remarks=arguments.remarks)
        issued = Issued(time_ns=clock.now_ns(), actor=person.name)
        validated = certificate.with_validation(decision, issued=issued, key=key)
    except (EvidenceError, FormatError) as error:
        return complain(error, arguments.file)
    write_file(arguments.output, validated.to_json())
    return OK


# ---- reading -------------------------------------------------------------------------------------


def _verify(arguments: argparse.Namespace) -> int:
    key, status = load_public_key(arguments.key), OK
    for path in arguments.files:
        try:
            certificate = Certificate.from_json(read_file(path))
            certificate.verify(key)
            if arguments.serial is not None:
                certificate.require_drive(arguments.serial)
            if arguments.store is not None:
                _compare(certificate, arguments.store)
        except (EvidenceError, FormatError) as error:
            status = complain(error, path)
            continue
        _, verdict, why = tell_verdict(certificate.content)
        serial = certificate.content.particulars.medium.serial
        sys.stdout.write(f"{path}: signed by {key.fingerprint}, and it follows from the facts in it\n")
        sys.stdout.write(f"{serial}: {verdict}. {why}\n")
        required = arguments.require and Category(arguments.require)
        if required and (certificate.category.rank < required.rank or certificate.accepted is False):
            status = complain(f"{required.value} is required, and it says less", path)
    return status


def _compare(certificate: Certificate, store: str) -> None:
    catalog = open_catalog(store)
    try:
        certificate.verify_in(open_audit(catalog))
    finally:
        catalog.close()


def _open(path: str, key: str | None) -> tuple[Certificate, str | None]:
    """Read a certificate, and verify it if there is a key; return it and the key's fingerprint."""
    certificate = Certificate.from_json(read_file(path))
    if key is None:
        certificate.check()
        return certificate, None
    public = load_public_key(key)
    certificate.verify(public)
    return certificate, public.fingerprint


def _show(arguments: argparse.Namespace) -> int:
    try:
        certificate, verified = _open(arguments.file, arguments.key)
    except (EvidenceError, FormatError) as error:
        return complain(error, arguments.file)
    sys.stdout.write(render_text(certificate, verified=verified, width=terminal_width()))
    return OK


def _render(arguments: argparse.Namespace) -> int:
    if not (arguments.html or arguments.pdf or arguments.signed_bytes or arguments.signature):
        raise ConfigError("nothing to write; give --html, --pdf, --signed-bytes or --signature")
    require_new(arguments.html, arguments.pdf, arguments.signed_bytes, arguments.signature)
    try:
        certificate, verified = _open(arguments.file, arguments.key)
    except (EvidenceError, FormatError) as error:
        return complain(error, arguments.file)
    if arguments.signature is not None and certificate.sealed.signature is None:
        raise ConfigError("the certificate is not signed")
    if arguments.html is not None:
        write_file(arguments.html, render_html(certificate, verified=verified))
    if arguments.pdf is not None:
        from seqstore.certificate_pdf import render_pdf  # noqa: PLC0415  needs fpdf2

        write_file(arguments.pdf, render_pdf(certificate, verified=verified))
    if arguments.signed_bytes is not None:
        write_file(arguments.signed_bytes, certificate.sealed.data)
    if arguments.signature is not None:
        write_file(arguments.signature, certificate.sealed.signature or b"")
    return OK


def _summary(arguments: argparse.Namespace) -> int:
    require_new(arguments.html, arguments.pdf, arguments.json)
    key = None if arguments.key is None else load_public_key(arguments.key)
    certificates = []
    for path in arguments.files:
        try:
            certificates.append(Certificate.from_json(read_file(path)))
        except FormatError as error:  # noqa: PERF203 (the first one is told, with its name)
            return complain(error, path)
    summary = summarize(certificates, key=key, expected=arguments.expect)
    paper = make_summary_paper(summary)
    sys.stdout.write(to_text(paper, width=terminal_width()))
    if arguments.html is not None:
        write_file(arguments.html, to_html(paper))
    if arguments.json is not None:
        write_file(arguments.json, json.dumps(summary.to_document(), indent=1, ensure_ascii=False) + "\n")
    if arguments.pdf is not None:
        from seqstore.certificate_pdf import to_pdf  # noqa: PLC0415  needs fpdf2

        latest = max((entry.issued_ns for entry in summary.entries), default=0)
        write_file(arguments.pdf, to_pdf(paper, latest))
    return OK if summary.done else FAILED
