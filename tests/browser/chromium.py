"""A headless Chromium: found, driven, and asked what it loaded and complained about."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
REMEDY = (
    "the tests of pages need Chromium, its driver and selenium: apt-get install chromium "
    "chromium-driver, or Chrome and chromedriver on the PATH; pip install 'm890sim[browser]'"
)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PHONE = (390, 844)
SCREENSHOTS = os.environ.get("M890_SCREENSHOTS")  # a folder that every test leaves pictures in


class Browser:
    """One page at a time."""

    def __init__(self) -> None:
        try:
            from selenium import webdriver
        except ImportError:
            pytest.fail(f"selenium is not installed; {REMEDY}", pytrace=False)
        binary = next(filter(None, map(shutil.which, BROWSERS)), None)
        driver = shutil.which("chromedriver")
        if binary is None or driver is None:
            missing = "Chromium" if binary is None else "chromedriver"
            pytest.fail(f"{missing} is not on the PATH; {REMEDY}", pytrace=False)
        options = webdriver.ChromeOptions()
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.binary_location = binary
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver: Any = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(driver)
        )
        self.page = ""

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load a file at a size, in the light or the dark."""
        self.logs("browser")
        self.logs("performance")
        self.size(width, height)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.page = path.resolve().as_uri()
        self.driver.get(self.page)

    def size(self, width: int, height: int) -> None:
        """Set the size of the page's window, also below what a window may be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def run(self, code: str) -> Any:
        """What a piece of JavaScript gives."""
        return self.driver.execute_script(f"return {code}")

    def text(self, name: str) -> str:
        """Of the element of that id."""
        return str(self.driver.find_element("id", name).text)

    def press(self, *keys: str) -> None:
        """Keys, on whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def click(self, name: str, x: float, y: float) -> None:
        """A place of an element, counted from its left upper corner."""
        from selenium.webdriver import ActionChains

        element = self.driver.find_element("id", name)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        wide, high = (
            self.run(f"document.getElementById('{name}').client{side}")
            for side in ("Width", "Height")
        )
        place = (round(x - wide / 2), round(y - high / 2))
        ActionChains(self.driver).move_to_element_with_offset(element, *place).click().perform()

    def wheel(self, name: str, by: int) -> None:
        """Turn the wheel over the middle of an element."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        element = self.driver.find_element("id", name)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        origin = ScrollOrigin.from_element(element)
        ActionChains(self.driver).scroll_from_origin(origin, 0, by).perform()

    def logs(self, kind: str) -> list[Any]:
        """What was logged since the last time."""
        return list(self.driver.get_log(kind))

    def picture(self, name: str, height: int | None = None) -> None:
        """Leave a screenshot where such are wanted."""
        if SCREENSHOTS is None:
            return
        if height is not None:
            self.size(self.run("innerWidth"), height)
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(folder / f"{name}.png"))

    def check(self) -> None:
        """Nothing was loaded but the page, nothing was complained about, nothing overflows."""
        messages = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        asked = [
            found["params"]["request"]["url"]
            for found in messages
            if found["method"] == "Network.requestWillBeSent"
        ]
        assert set(asked) <= {self.page}, asked
        complaints = self.logs("browser")
        assert not complaints, complaints
        wide, room = self.run("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room, f"the page is {wide} wide, in a window of {room}"
