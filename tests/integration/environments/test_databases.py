"""The database fixtures: each test gets an empty database of the server it asked for."""

import pytest
import sqlalchemy

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("fixture", "dialect"), [("postgresql_url", "postgresql"), ("mariadb_url", "mysql")])
@pytest.mark.parametrize("time", [1, 2])
def test_database_is_empty_and_writable(request: pytest.FixtureRequest, fixture: str, dialect: str, time: int) -> None:
    engine = sqlalchemy.create_engine(request.getfixturevalue(fixture))
    assert engine.dialect.name == dialect
    assert sqlalchemy.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (name varchar(20))"))
        connection.execute(sqlalchemy.text("insert into t values ('snow ❄ 𝄞')"))
        assert connection.scalar(sqlalchemy.text("select name from t")) == "snow ❄ 𝄞"
