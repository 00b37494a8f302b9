"""hw.svd: the file follows the rules of the schema, and says what the C header says."""

import re
import xml.etree.ElementTree as ET

import pytest

from tritloom.arch import regmap
from tritloom.arch.config import preset
from tritloom.arch.errors import InputError
from tritloom.arch.regmap import Access, Field, Register
from tritloom.hw import svd

# Of CMSIS-SVD.xsd 1.3: what an element may hold, in this order; `?` where it may be missing, `*`
# where there may be none or several, `+` where there may be several.
SCHEMA = {
    "device": "vendor? vendorID? name series? version description licenseText? cpu? "
    "headerSystemFilename? headerDefinitionsPrefix? addressUnitBits width size? access? "
    "protection? resetValue? resetMask? peripherals vendorExtensions?",
    "peripherals": "peripheral+",
    "peripheral": "name version? description? alternatePeripheral? groupName? prependToName? "
    "appendToName? headerStructName? disableCondition? baseAddress size? access? protection? "
    "resetValue? resetMask? addressBlock+ interrupt* registers?",
    "addressBlock": "offset size usage protection?",
    "registers": "register+",
    "register": "name displayName? description? alternateGroup? alternateRegister? addressOffset "
    "size? access? protection? resetValue? resetMask? dataType? modifiedWriteValues? "
    "writeConstraint? readAction? fields?",
    "fields": "field+",
    "field": "name description? bitOffset bitWidth? access? modifiedWriteValues? writeConstraint? "
    "readAction? enumeratedValues*",
    "enumeratedValues": "name? headerEnumName? usage? enumeratedValue+",
    "enumeratedValue": "name? description? value",
}
# Texts of elements without elements.
NUMBER = r"0x[0-9a-fA-F]+|[0-9]+"
TEXTS = {
    "access": "read-only|write-only|read-write|writeOnce|read-writeOnce",
    "modifiedWriteValues": "oneToClear|oneToSet|oneToToggle|zeroToClear|zeroToSet|zeroToToggle"
    "|clear|set|modify",
    "usage": "registers|buffer|reserved",
    "name": r"[_A-Za-z0-9]+",
    **dict.fromkeys(
        ("addressUnitBits", "width", "size", "baseAddress", "offset", "addressOffset"), NUMBER
    ),
    **dict.fromkeys(("resetValue", "resetMask", "bitOffset", "bitWidth", "value"), NUMBER),
}


def flaws(root):
    """What the schema forbids, as lines."""
    found = []
    for element in root.iter():
        inside = [child.tag for child in element]
        if element.tag in SCHEMA:
            order = "".join(
                rf"(?:{tag.rstrip('?*+')} ){tag[-1] if tag[-1] in '?*+' else ''}"
                for tag in SCHEMA[element.tag].split()
            )
            if not re.fullmatch(order, "".join(f"{tag} " for tag in inside)):
                found.append(f"{element.tag} holds {inside}")
        elif inside or not (element.text or "").strip():
            found.append(f"{element.tag} holds {inside or 'nothing'}")
        elif not re.fullmatch(TEXTS.get(element.tag, r"(?s).+"), element.text):
            found.append(f"{element.tag} is {element.text!r}")
        if "derivedFrom" in element.attrib:
            names = {other.findtext("name") for other in root.iter(element.tag)}
            if element.attrib["derivedFrom"] not in names:
                found.append(f"{element.tag} derived from {element.attrib['derivedFrom']}")
    for block in ("peripheral", "registers", "fields", "enumeratedValues"):
        for element in root.iter(block):
            names = [child.findtext("name") for child in element if len(child)]
            names = [name for name in names if name]
            if len(names) != len(set(names)):
                found.append(f"{block} has a name twice")
    for each in root.iter("register"):
        size, used = int(each.findtext("size"), 0), 0
        for field in each.iter("field"):
            low, width = int(field.findtext("bitOffset"), 0), int(field.findtext("bitWidth"), 0)
            mask = ((1 << width) - 1) << low
            if mask & used or low + width > size:
                found.append(f"field {field.findtext('name')} has no place")
            used |= mask
            values = [int(value.text, 0) for value in field.iter("value")]
            if len(values) != len(set(values)) or any(value >> width for value in values):
                found.append(f"values of {field.findtext('name')} are {values}")
    (space,) = (int(block.findtext("size"), 0) for block in root.iter("addressBlock"))
    offsets = [int(each.findtext("addressOffset"), 0) for each in root.iter("register")]
    if len(offsets) != len(set(offsets)) or max(offsets) + 4 > space:
        found.append(f"offsets {offsets}")
    return found


ROOT = ET.fromstring(svd.svd().partition("\n")[2])


def test_file_is_as_the_schema_wants_it():
    assert flaws(ROOT) == []
    assert ROOT.tag == "device"
    assert ROOT.attrib["schemaVersion"] == "1.3"


@pytest.mark.parametrize(
    ("pattern", "other", "flaw"),
    [
        (r"(<addressOffset>.*?</addressOffset>)\s*(<size>32</size>)", r"\2\1", "register holds"),
        (r"<access>read-only</access>", "<access>ro</access>", "access is 'ro'"),
        (r"<bitOffset>16</bitOffset>", "<bitOffset>8</bitOffset>", "has no place"),
        (r"<bitWidth>16</bitWidth>", "<bitWidth>33</bitWidth>", "has no place"),
        (r"<value>1</value>", "<value>0</value>", r"values of \w+ are \[0, 0\]"),
        (r"<value>1</value>", "<value>2</value>", r"values of \w+ are \[0, 2\]"),
        (r"<register>", '<register derivedFrom="NONE">', "register derived from NONE"),
        (r"<name>SHAPE</name>", "<name>ID</name>", "registers has a name twice"),
        (r"<addressOffset>0x04<", "<addressOffset>0x00<", "offsets"),
        (r"<size>0x[0-9a-f]+</size>", "<size>0x40</size>", "offsets"),
        (r"<description>[^<]*</description>", "<description/>", "description holds nothing"),
    ],
)
def test_planted_flaw_is_found(pattern, other, flaw):
    text, count = re.subn(pattern, other, svd.svd().partition("\n")[2], count=1)
    assert count == 1
    assert re.search(flaw, "\n".join(flaws(ET.fromstring(text))))


def header():
    """Registers, fields, comments and resets of the C header, read from its text alone."""
    found, where, what = {}, None, ""
    for line in regmap.c_header().splitlines():
        if offset := re.fullmatch(r"#define TRITLOOM_(\w+)_OFFSET (0x\w+)u", line):
            where = offset[1]
            found[where] = {"offset": int(offset[2], 0), "what": what, "fields": {}}
            what = ""
        elif comment := re.fullmatch(r"/\* (.*) \*/", line):
            what = comment[1]
        elif part := re.fullmatch(
            rf"#define TRITLOOM_{where}_(\w+)_(SHIFT|MASK|RESET) (\w+)u", line
        ):
            field = found[where]["fields"].setdefault(part[1], {"what": what})
            field[part[2]] = int(part[3], 0)
            what = "" if part[2] == "MASK" else what
    return found


def test_addresses_fields_and_resets_are_those_of_the_c_header():
    told = header()
    assert [each.findtext("name") for each in ROOT.iter("register")] == list(told)
    for each in ROOT.iter("register"):
        other = told[each.findtext("name")]
        assert int(each.findtext("addressOffset"), 0) == other["offset"]
        assert each.findtext("description") == other["what"]
        fields = {field.findtext("name"): field for field in each.iter("field")}
        assert list(fields) == list(other["fields"])
        reset, unknown = int(each.findtext("resetValue"), 0), 0xFFFFFFFF
        unknown &= ~int(each.findtext("resetMask"), 0)
        for name, field in fields.items():
            low, width = int(field.findtext("bitOffset")), int(field.findtext("bitWidth"))
            numbers = other["fields"][name]
            assert (low, ((1 << width) - 1) << low) == (numbers["SHIFT"], numbers["MASK"])
            assert (reset & numbers["MASK"]) >> low == numbers.get("RESET", 0)
        # What no field holds reads as 0.
        masks = sum(numbers["MASK"] for numbers in other["fields"].values())
        assert (reset | unknown) & ~masks == 0


def test_access_is_that_of_the_c_header_s_comments():
    shown = {
        "RO": ("read-only", None),
        "RW": ("read-write", None),
        "W1C": ("read-write", "oneToClear"),
        "WO": ("write-only", None),
    }
    compared = 0
    for each in ROOT.iter("register"):
        for field in each.iter("field"):
            what = header()[each.findtext("name")]["fields"][field.findtext("name")]["what"]
            if match := re.fullmatch(r"(.*) \((\w+)\)", what):
                assert field.findtext("description") == match[1]
                pair = field.findtext("access"), field.findtext("modifiedWriteValues")
                assert pair == shown[match[2]]
                compared += 1
    assert compared > 20


def test_what_the_configuration_decides_has_no_reset_value():
    names = {
        each.findtext("name")
        for each in ROOT.iter("register")
        if int(each.findtext("resetMask"), 0) != 0xFFFFFFFF
    }
    assert names == set(regmap.constants(preset("tiny")))


def test_choices_are_named():
    named = {
        field.findtext("name"): [value.findtext("name") for value in field.iter("enumeratedValue")]
        for field in ROOT.iter("field")
        if field.find("enumeratedValues") is not None
    }
    assert named["PACKING"] == ["TRIT2", "TRIT5"]


def test_any_register_of_the_table_is_written():
    one = Register(
        name="NEW",
        offset=0xF0,
        what="a < b & c",
        fields=(Field(name="BIT", low=31, access=Access.W1C, reset=1, what="top"),),
    )
    root = ET.fromstring(svd.svd((one,)).partition("\n")[2])
    (each,) = root.iter("register")
    assert each.findtext("description") == "a < b & c"
    assert each.findtext("resetValue") == "0x80000000"
    assert each.findtext("access") == "read-write"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((("A", 2),), "field MODE must be at most 1, not 2"),
        ((("A", 0), ("A", 1)), "two registers or fields share one value name of MODE: A"),
        ((("A", 0), ("B", 0)), "two registers or fields share one value of MODE: 0"),
        ((("a", 0),), "value name must be a C identifier in capitals, not 'a'"),
    ],
)
def test_wrong_choice_is_named(values, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Field(name="MODE", access=Access.RW, what="mode", values=values)
