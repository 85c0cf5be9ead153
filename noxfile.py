"""Sessions of nox: the wheel on every Python there is, the builds from source. `nox -s tests-3.12`, `nox -s builds`."""

import nox

nox.options.sessions = ["tests"]
# What judges without PyTorch; the packages that some Python lacks are skipped by the tests themselves.
JUDGES = ["pytest", "hypothesis", "scipy", "threadpoolctl", "scikit-learn"]
FILES = ("test_semantics", "test_accuracy", "test_threads_isa", "test_import", "test_coexistence")


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session):
    """Builds the wheel for this Python, and tests it from a copy of the tests outside of the source tree."""
    work = session.create_tmp()
    session.install("--upgrade", "pip")
    session.run("pip", "wheel", "--quiet", "--no-deps", "-w", f"{work}/wheels", ".")
    session.install("--no-index", "--no-deps", f"--find-links={work}/wheels", "cconv")
    session.install("numpy", *JUDGES)
    session.run(
        "cp", "-r", "tests", "benchmarks", "pyproject.toml", "README.md", work, external=True
    )
    session.chdir(work)
    session.run(
        "python", "-m", "pytest", "-q", *[f"tests/{name}.py" for name in FILES], *session.posargs
    )


@nox.session
def builds(session):
    """No threads, no vector types, clang, a forced baseline, the sdist's bytes: the same as in CI."""
    session.run("bash", ".ci/builds", *session.posargs, external=True)
