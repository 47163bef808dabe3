"""The addresses that `make run` prints, and those of strangers."""


def test_the_first_page_is_the_admin(client):
    response = client.get("/")

    assert (response.status_code, response["location"]) == (302, "/admin/")


def test_a_wrong_host_is_one_line_in_the_log(client, settings, caplog):
    settings.ALLOWED_HOSTS = ["bot.example.com"]

    assert client.get("/", headers={"host": "10.1.2.3"}).status_code == 400

    (record,) = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert record.exc_info is None  # the handler of the console was first
