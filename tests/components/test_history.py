"""Where a semester's copies go."""

from __future__ import annotations

from pathlib import Path

import pytest

from components import history
from components.semester import Semester, load_stack_file

pytestmark = pytest.mark.unit

OWN = history.OwnPlace("azure:backups:/", azure_account="keep1", identity_client_id="id1")
CAMPUS = "s3:https://s3.us-west-2.amazonaws.com/campus/fa26"


def semester(repository: Path, chosen: str | None = None) -> Semester:
    found = load_stack_file(repository / "stacks" / "Pulumi.sp16.yaml")
    kept = found.homes.snapshots.model_copy(update={"repository": chosen})
    return found.model_copy(update={"homes": found.homes.model_copy(update={"snapshots": kept})})


def test_without_a_choice_copies_go_to_the_semesters_own_place(repository: Path) -> None:
    assert history.snapshots(semester(repository), OWN) == {
        "repository": "azure:backups:/",
        "keep_hourly": 24,
        "keep_daily": 14,
        "keep_weekly": 16,
        "azure_account": "keep1",
        "identity_client_id": "id1",
    }


def test_a_site_without_an_identity_keeps_its_copies_itself(repository: Path) -> None:
    assert history.snapshots(semester(repository), None)["repository"] == ""


def test_a_chosen_repository_is_that_of_both_sites(repository: Path) -> None:
    chosen = semester(repository, CAMPUS)
    for own in (OWN, None):
        found = history.snapshots(chosen, own)
        assert found["repository"] == CAMPUS and "azure_account" not in found


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("s3:https://s3.us-west-2.amazonaws.com/campus/fa26/x", ("campus", "fa26/x")),
        ("s3:s3.amazonaws.com/campus", ("campus", "")),
        ("s3:https://s3.cn-north-1.amazonaws.com.cn/campus/", ("campus", "")),
        ("s3:https://minio.example.edu/campus/fa26", None),
        ("azure:backups:/", None),
    ],
)
def test_rights_are_given_on_buckets_of_amazon_only(where: str, place: tuple[str, str] | None) -> None:
    assert history.s3_place(where) == place


def test_the_own_bucket_is_one_of_them() -> None:
    own = history.s3_repository("us-west-2", "amazonaws.com", "semesterhub-fa26-1")
    assert history.s3_place(own) == ("semesterhub-fa26-1", "restic")


def test_a_disk_of_the_machine_is_mounted_into_the_keeper(repository: Path) -> None:
    assert history.mounts(semester(repository, "/mnt/backups")) == [
        {"source": "/mnt/backups", "target": "/mnt/backups"}
    ]
    assert history.mounts(semester(repository, CAMPUS)) == [] == history.mounts(semester(repository))
