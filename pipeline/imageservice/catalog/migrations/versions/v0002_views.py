"""Make read-only views with the names and columns of the reference's tables, for reports and scripts written for
those.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
PHASE = "expand"

_IMAGES = """
CREATE VIEW images AS SELECT
  {created} AS created_at, {updated} AS updated_at, {deleted_at} AS deleted_at, {deleted} AS deleted,
  i.id AS id, i.name AS name, i.disk_format AS disk_format, i.container_format AS container_format, i.size AS size,
  i.virtual_size AS virtual_size, i.status AS status, i.visibility AS visibility, i.checksum AS checksum,
  i.hash_algo AS os_hash_algo, i.hash_value AS os_hash_value, i.min_disk AS min_disk, i.min_ram AS min_ram,
  i.owner AS owner, i.protected AS protected, i.hidden AS os_hidden
FROM catalog_images i
"""

_PROPERTIES = """
CREATE VIEW image_properties AS SELECT
  {created} AS created_at, {updated} AS updated_at, {deleted_at} AS deleted_at, {deleted} AS deleted,
  {property_id} AS id, i.id AS image_id, {property_name} AS name, {property_value} AS value
FROM catalog_images i {properties}
"""

_TAGS = """
CREATE VIEW image_tags AS SELECT
  {created} AS created_at, {updated} AS updated_at, {deleted_at} AS deleted_at, {deleted} AS deleted,
  {tag_id} AS id, i.id AS image_id, {tag} AS value
FROM catalog_images i {tags}
"""

_LOCATIONS = """
CREATE VIEW image_locations AS SELECT
  {location_created} AS created_at, {location_updated} AS updated_at, {null_time} AS deleted_at, {no} AS deleted,
  l.id AS id, l.image_id AS image_id, l.url AS value, {location_metadata} AS meta_data, l.state AS status
FROM catalog_locations l WHERE l.state = 'active'
"""

_MEMBERS = """
CREATE VIEW image_members AS SELECT
  {member_created} AS created_at, {member_updated} AS updated_at, {null_time} AS deleted_at, {no} AS deleted,
  {member_id} AS id, m.image_id AS image_id, m.member AS member, {no} AS can_share, m.status AS status
FROM catalog_members m
"""


def _sqlite() -> dict[str, str]:
    def time(column: str) -> str:
        return f"(datetime({column} / 1000000, 'unixepoch') || printf('.%06d', {column} % 1000000))"

    return {
        **_times(time),
        "deleted": "(i.status = 'deleted')",
        "no": "0",
        "null_time": "NULL",
        "properties": ", json_each(i.document, '$.properties') p",
        "property_id": "(i.rowid * 65536 + p.id)",
        "property_name": "p.key",
        "property_value": "p.value",
        "tags": ", json_each(i.document, '$.tags') t",
        "tag_id": "(i.rowid * 65536 + t.id)",
        "tag": "t.value",
        "location_metadata": "CASE WHEN l.store IS NULL THEN l.metadata "
        "ELSE json_patch(l.metadata, json_object('store', l.store)) END",
        "member_id": "m.rowid",
    }


def _postgresql() -> dict[str, str]:
    def time(column: str) -> str:
        return f"(TIMESTAMP 'epoch' + {column} * INTERVAL '1 microsecond')"

    def number(text: str) -> str:
        return f"('x' || substr(md5({text}), 1, 15))::bit(60)::bigint"

    return {
        **_times(time),
        "deleted": "(i.status = 'deleted')",
        "no": "false",
        "null_time": "NULL::timestamp",
        "properties": "CROSS JOIN LATERAL jsonb_each_text(i.document -> 'properties') p(key, value)",
        "property_id": number("i.id || '/' || p.key"),
        "property_name": "p.key",
        "property_value": "p.value",
        "tags": "CROSS JOIN LATERAL jsonb_array_elements_text(i.document -> 'tags') t(value)",
        "tag_id": number("i.id || '/' || t.value"),
        "tag": "t.value",
        "location_metadata": "CASE WHEN l.store IS NULL THEN l.metadata "
        "ELSE l.metadata || jsonb_build_object('store', l.store) END::text",
        "member_id": number("m.image_id || '/' || m.member"),
    }


def _mariadb() -> dict[str, str]:
    def time(column: str) -> str:
        return f"TIMESTAMPADD(MICROSECOND, {column}, '1970-01-01 00:00:00')"

    def number(text: str) -> str:
        return f"CAST(CONV(SUBSTR(MD5({text}), 1, 15), 16, 10) AS UNSIGNED)"

    column = "COLUMNS (value VARCHAR(255) PATH '$')"
    return {
        **_times(time),
        "deleted": "(i.status = 'deleted')",
        "no": "0",
        "null_time": "CAST(NULL AS DATETIME(6))",
        "properties": f"JOIN JSON_TABLE(JSON_KEYS(i.document, '$.properties'), '$[*]' {column}) p",
        "property_id": number("CONCAT(i.id, '/', p.value)"),
        "property_name": "p.value",
        "property_value": "JSON_UNQUOTE(NULLIF(JSON_EXTRACT(i.document, "
        "CONCAT('$.properties.', JSON_QUOTE(p.value))), CAST('null' AS CHAR)))",
        "tags": f"JOIN JSON_TABLE(i.document, '$.tags[*]' {column}) t",
        "tag_id": number("CONCAT(i.id, '/', t.value)"),
        "tag": "t.value",
        "location_metadata": "IF(l.store IS NULL, l.metadata, "
        "JSON_MERGE_PATCH(l.metadata, JSON_OBJECT('store', l.store COLLATE utf8mb4_bin)))",
        "member_id": number("CONCAT(m.image_id, '/', m.member)"),
    }


def _times(time) -> dict[str, str]:
    columns = {
        "created": "i.created_at",
        "updated": "i.updated_at",
        "deleted_at": "i.deleted_at",
        "location_created": "l.created_at",
        "location_updated": "l.updated_at",
        "member_created": "m.created_at",
        "member_updated": "m.updated_at",
    }
    return {name: time(column) for name, column in columns.items()}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    words = {"sqlite": _sqlite, "postgresql": _postgresql, "mariadb": _mariadb, "mysql": _mariadb}[dialect]()
    for view in (_IMAGES, _PROPERTIES, _TAGS, _LOCATIONS, _MEMBERS):
        op.get_bind().exec_driver_sql(view.format(**words))
