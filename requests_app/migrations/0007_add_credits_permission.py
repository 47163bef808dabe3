"""Adding credits is a permission of its own: whoever may block an account need not be able to mint money."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("requests_app", "0006_charge_labels")]

    operations = [
        migrations.AlterModelOptions(
            name="account",
            options={"ordering": ["-created_at"], "permissions": [("add_credits", "Can add credits to an account")]},
        ),
    ]
