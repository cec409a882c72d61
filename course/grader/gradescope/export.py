"""Whose is which folder of a Gradescope export: its file submission_metadata.yml.

    submission_501:
      :submitters:
      - :name: Ada Lovelace
        :sid: '100'
        :email: ada@example.org

The form is that of exports which public programs read; Gradescope's documentation has none.
"""

import yaml

from course.grader.intake import naming

NAME = "submission_metadata.yml"


def submitters(data: bytes, where: str) -> dict[str, str]:
    """The students by the folder of their submission; a group has all its names.

    Of equal names each gets a number or address behind it. Raises ValueError, which names the file
    `where`, if it has another form: without it nobody's name is known.
    """
    try:
        people = {
            str(naming.path(str(folder))): [
                {str(key).strip(":"): str(value or "") for key, value in person.items()}
                for person in said[":submitters"] or []
            ]
            for folder, said in yaml.safe_load(data).items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:100]
        raise ValueError(f"{where} is not as Gradescope writes it: {said}") from None
    names = {folder: naming.shown(joined(group, "name")) for folder, group in people.items()}
    every = list(names.values())
    for folder, name in names.items():
        if not name or every.count(name) > 1:
            group = people[folder]
            known = joined(group, "sid") or joined(group, "email") or folder
            names[folder] = naming.shown(f"{name} {known}")
    return names


def joined(group: list[dict], key: str) -> str:
    return ", ".join(person[key] for person in group if person.get(key))
