"""The pages that one begins with, as test_pages.py has the others."""

import pytest

from tests.helpers.pages import FIRST_PAGES
from tests.helpers.reader import follow


@pytest.mark.parametrize("page", FIRST_PAGES)
def test_what_a_page_shows_works_in_its_order_and_prints_what_it_says(page, tmp_path):
  follow(page, tmp_path)
