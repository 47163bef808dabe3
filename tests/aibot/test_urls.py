"""The addresses that `make run` prints."""


def test_the_first_page_is_the_admin(client):
    response = client.get("/")

    assert (response.status_code, response["location"]) == (302, "/admin/")
