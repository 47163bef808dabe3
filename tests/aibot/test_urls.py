"""The addresses that `make run` prints, and those of strangers."""

import pytest


def test_the_first_page_is_the_admin(client):
    response = client.get("/")

    assert (response.status_code, response["location"]) == (302, "/admin/")


def test_the_root_of_the_api_lists_addresses_that_answer(admin_client):
    addresses = admin_client.get("/api/").json()

    figures = {"stats", "categoryStats", "cost", "recommended"}
    analyses = {"successRates", "fallbacks", "margins", "costs"}
    records = {"requests", "attempts", "routes", "models", "accounts"}
    assert addresses.keys() == {*figures, *analyses, *records, "schema", "docs"}
    for address in addresses.values():
        assert admin_client.get(address.replace("{category}", "VIDEO")).status_code == 200


@pytest.mark.parametrize("address", ["/api/schema", "/api/docs"])
def test_pages_of_the_api_answer_without_a_slash_too(admin_client, address):
    assert admin_client.get(address).status_code == 200


@pytest.mark.parametrize("method", ["get", "post", "options"])
def test_an_unknown_address_of_the_api_is_answered_in_json(client, method):
    response = getattr(client, method)("/api/no/such\N{PILE OF POO}/thing")

    assert response.status_code == 404
    assert response.json() == {
        "detail": "There is nothing here. http://testserver/api/ lists the addresses of the API."
    }


def test_a_wrong_host_is_one_line_in_the_log(client, settings, caplog):
    settings.ALLOWED_HOSTS = ["bot.example.com"]

    assert client.get("/", headers={"host": "10.1.2.3"}).status_code == 400

    (record,) = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert record.exc_info is None  # the handler of the console was first
