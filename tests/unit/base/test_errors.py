from pipeline.base.errors import PipelineError


def test_an_error_reads_as_message_details_hint() -> None:
    error = PipelineError("the disk is full", details=["/var: 0 bytes"], hint="free some")
    assert str(error) == "the disk is full\n  /var: 0 bytes\nhint: free some"


def test_a_bare_error_is_its_message() -> None:
    assert str(PipelineError("no")) == "no"
