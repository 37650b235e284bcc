#!/usr/bin/env python3
"""Makes centroids.txt out of files of Debian packages; README.md tells which, and how to run it. What found no match goes to stderr."""
import difflib
import json
import math
import re
import sqlite3
import struct
import sys
import unicodedata
from collections import defaultdict

FAR = 1500  # km: what lies farther from the largest part (Alaska, Réunion, the Canaries) does not count
ALIKE = 0.8  # least likeness of two names

UNITS = {"GUF": "GF", "GLP": "GP", "MTQ": "MQ", "REU": "RE", "MYT": "YT"}  # which the map counts to France, by gu_a3
UNINHABITED = {"BV": (-54.42, 3.36)}  # Bouvet Island is neither on the map nor in tzdata

# Words that one of two names often lacks.
NOISE = set("""al ash as el the of de do da di und and city province provincia region oblast oblysy oblasti kray krai respublika republic
state district gouvernorat governorate muhafazat prefecture county departement department municipality voivodeship autonomous okrug shi
sheng zizhiqu islands land freistaat capital territory kota daerah istimewa changwat gwangyeoksi ken fu to""".split())

# The codes of what the map names too differently.
NAMED = {(country, name): code for country, names in {
    "BE": {"Brussels": "BRU"},
    "BG": {"Grad Sofiya": "22"},
    "CH": {"Lucerne": "LU"},
    "CL": {"Magallanes y Antártica Chilena": "MA"},
    "CO": {"San Andrés y Providencia": "SAP"},
    "FI": {"Central Finland": "08", "Central Ostrobothnia": "07", "Finland Proper": "19", "Lapland": "10", "North Karelia": "13",
           "Northern Ostrobothnia": "14", "Northern Savonia": "15", "Ostrobothnia": "12", "South Karelia": "02",
           "Southern Ostrobothnia": "03", "Southern Savonia": "04", "Tavastia Proper": "06"},
    "ES": {"Castellón": "CS", "Álava": "VI"},
    "IL": {"HaDarom": "D", "HaMerkaz": "M", "HaZafon": "Z", "Jerusalem": "JM", "Tel Aviv": "TA", "Haifa": "HA"},
    "IN": {"Dadra and Nagar Haveli": "DH", "Daman and Diu": "DH"},
    "IT": {"Aoste": "23", "Carbonia-Iglesias": "SU", "Medio Campidano": "SU"},
    "KZ": {"Almaty": "ALM", "Almaty City": "ALA", "Aqmola": "AKM", "Aqtöbe": "AKT", "Astana": "AST", "Atyrau": "ATY",
           "East Kazakhstan": "VOS", "Qaraghandy": "KAR", "Qostanay": "KUS", "Qyzylorda": "KZY", "South Kazakhstan": "YUZ"},
    "MX": {"Distrito Federal": "CMX", "Veracruz": "VER"},
    "MY": {"Kuala Lumpur": "14", "Labuan": "15", "Putrajaya": "16"},
    "NG": {"Federal Capital Territory": "FC"},
    "NL": {"Friesland": "FR"},
    "NO": {"Akershus": "30", "Buskerud": "30", "Østfold": "30", "Hedmark": "34", "Oppland": "34", "Telemark": "38", "Vestfold": "38",
           "Aust-Agder": "42", "Vest-Agder": "42", "Hordaland": "46", "Sogn og Fjordane": "46", "Nord-Trøndelag": "50",
           "Sør-Trøndelag": "50", "Finnmark": "54", "Troms": "54"},
    "PE": {"Amazonas": "AMA", "Lima": "LMA"},
    "PK": {"Northern Areas": "GB"},
    "PL": {"Greater Poland": "30", "Kuyavian-Pomeranian": "04", "Lesser Poland": "12", "Lower Silesian": "02", "Lublin": "06",
           "Lubusz": "08", "Masovian": "14", "Opole": "16", "Pomeranian": "22", "Silesian": "24", "Subcarpathian": "18",
           "Warmian-Masurian": "28", "West Pomeranian": "32", "Łódź": "10"},
    "RU": {"North Ossetia": "SE"},
    "SA": {"Al Madinah": "03", "Makkah": "02"},
    "TM": {"Tashauz": "D"},
    "TW": {"Taipei City": "TPE", "New Taipei City": "NWT"},
    "UA": {"Kiev City": "30"},
    "UZ": {"Bukhoro": "BU", "Jizzakh": "JI", "Karakalpakstan": "QR", "Khorezm": "XO"},
    "VE": {"Vargas": "X"},
}.items() for name, code in names.items()}

# Codes that are newer than the map or than Debian's table, by where that land is in those.
NEWER = {
    "CL-NB": "CL-BI", "ID-KU": "ID-KI", "SD-GK": "SD-KN",
    "IN-CG": "IN-CT", "IN-LA": "IN-JK", "IN-OD": "IN-OR", "IN-TG": "IN-AP", "IN-TS": "IN-AP", "IN-UK": "IN-UT",
    "KZ-SHY": "KZ-YUZ",
    "KZ-10": "KZ-VOS", "KZ-11": "KZ-AKM", "KZ-15": "KZ-AKT", "KZ-19": "KZ-ALM", "KZ-23": "KZ-ATY", "KZ-27": "KZ-ZAP", "KZ-31": "KZ-ZHA",
    "KZ-33": "KZ-ALM", "KZ-35": "KZ-KAR", "KZ-39": "KZ-KUS", "KZ-43": "KZ-KZY", "KZ-47": "KZ-MAN", "KZ-55": "KZ-PAV", "KZ-59": "KZ-SEV",
    "KZ-61": "KZ-YUZ", "KZ-62": "KZ-KAR", "KZ-63": "KZ-VOS", "KZ-71": "KZ-AST", "KZ-75": "KZ-ALA", "KZ-79": "KZ-YUZ",
}


def polygons(blob):
    """Gives the polygons of a geometry of a GeoPackage: the outer ring, then its holes, as (longitude, latitude)."""
    at = 8 + (0, 32, 48, 48, 64)[blob[3] >> 1 & 7]

    def take(form):
        nonlocal at
        values = struct.unpack_from(form, blob, at)
        at += struct.calcsize(form)
        return values

    def ring(order):
        numbers = take(order + "%dd" % (2 * take(order + "I")[0]))
        return list(zip(numbers[::2], numbers[1::2]))

    def geometry():
        order = "<" if take("B")[0] else ">"
        kind, count = take(order + "II")
        if kind == 6:  # a multipolygon
            return [polygon for _ in range(count) for polygon in geometry()]
        return [[ring(order) for _ in range(count)]]

    return geometry()


def centroid(polygon):
    """Gives the area of a polygon, of a sphere of radius 1, and its centroid: in a projection that keeps areas, so that both are exact."""
    area = x = y = 0
    for n, ring in enumerate(polygon):
        points = [(math.radians(lon), math.sin(math.radians(lat))) for lon, lat in ring]
        a = cx = cy = 0
        x0, y0 = points[0]
        for (x1, y1), (x2, y2) in zip(points, points[1:]):
            x1, y1, x2, y2 = x1 - x0, y1 - y0, x2 - x0, y2 - y0
            cross = x1 * y2 - x2 * y1
            a, cx, cy = a + cross / 2, cx + cross * (x1 + x2) / 6, cy + cross * (y1 + y2) / 6
        sign = math.copysign(1, a) * (-1 if n else 1)
        area, x, y = area + sign * a, x + sign * (cx + a * x0), y + sign * (cy + a * y0)
    return area, vector(math.degrees(math.asin(y / area)), math.degrees(x / area))


def vector(lat, lon):
    lat, lon = math.radians(lat), math.radians(lon)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def middle(parts):
    """Gives latitude and longitude of the middle of parts, which are areas and centroids, near the largest of them."""
    _, largest = max(parts)
    near = [(a, v) for a, v in parts if 6371 * math.dist(v, largest) < FAR]
    x, y, z = (sum(a * v[i] for a, v in near) for i in range(3))
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def words(name):
    """Gives what is compared of a name: no accents, no noise, one way of writing Cyrillic in Latin letters."""
    name = unicodedata.normalize("NFKD", name).lower().replace("ß", "ss").replace("ı", "i").replace("ł", "l").replace("đ", "d")
    name = "".join(c for c in name if not unicodedata.combining(c) and c not in "'’ʻ‘`ʼ")
    every = [w.replace("j", "y").replace("iy", "y") for w in re.findall("[a-z0-9]+", name)]
    return " ".join(sorted(w for w in every if w not in NOISE) or sorted(every))


def likeness(names, other):
    return max((difflib.SequenceMatcher(None, a, b).ratio() for a in names for b in other), default=0)


def names_of(text):
    return {words(part) for part in re.split(r"[/\[\]()]| - ", text or "") if words(part)} | ({words(text)} if text else set())


def match(units, codes, found):
    """Adds to found the code of each unit: codes that are not divided further before the others, then what is most alike and largest."""
    wholes = {parent for _, parent in codes.values()}
    pairs = [(code not in wholes, likeness(names, codes[code][0]), sum(a for a, _ in parts), unit, code)
             for unit, (parts, names, _) in enumerate(units) for code in codes]
    for _, score, _, unit, code in sorted(pairs, reverse=True):
        if score >= ALIKE and unit not in found and code not in found.values():
            found[unit] = code


def codes_of(file):
    """Gives by country and code of ISO 3166-2: names, and the code of what it is a part of."""
    codes = defaultdict(dict)
    for s in json.load(open(file))["3166-2"]:
        country, code = s["code"].split("-")
        codes[country][code] = names_of(s["name"]), s.get("parent", "").split("-")[-1]
    return codes


def assign(country, codes, states):
    """Gives the parts of land that each code stands for. What the map does not have as one is made of what it is divided into."""
    found = {i: NAMED[country, name] for i, (_, _, name) in enumerate(states) if (country, name) in NAMED}
    match(states, codes, found)
    parts = defaultdict(list)
    for i, code in found.items():
        parts[code] += states[i][0]
        parent = codes[code][1]
        if parent and parent not in found.values():
            parts[parent] += states[i][0]
    missing = sorted(f"{code} {min(names)}" for code, (names, _) in codes.items() if code not in parts)
    unused = sorted(name or "?" for i, (_, _, name) in enumerate(states) if i not in found)
    print(f"{country}: {len(parts)} of {len(codes)}; not on the map: {missing}; without a code: {unused}", file=sys.stderr)
    return parts


def main(world, subdivisions, zones):
    db = sqlite3.connect(world)
    points = dict(UNINHABITED)
    countries, states = defaultdict(list), defaultdict(list)
    for country, blob in db.execute("SELECT iso_a2, geom FROM countries"):
        countries[country] += map(centroid, polygons(blob))
    for country, unit, blob, *names in db.execute("SELECT iso_a2, gu_a3, geom, name, woe_name, gn_name, woe_label FROM states_provinces"):
        parts = [centroid(p) for p in polygons(blob)]
        if unit in UNITS:
            countries[UNITS[unit]] += parts
        names[3] = (names[3] or "").split(",")[0]
        states[country].append((parts, set().union(*map(names_of, names)), names[0]))
    for line in open(zones):  # +DDMM+DDDMM or +DDMMSS+DDDMMSS
        if found := re.match(r"([A-Z]{2})\t([+-]\d\d)(\d\d)\d*([+-]\d{3})(\d\d)", line):
            country, lat, north, lon, east = found.groups()
            if country not in countries and country not in points:
                points[country] = [math.copysign(abs(int(d)) + int(m) / 60, float(d + "." + m)) for d, m in ((lat, north), (lon, east))]
    points.update((country, middle(parts)) for country, parts in countries.items() if country != "-1")

    for country, codes in codes_of(subdivisions).items():
        points.update((f"{country}-{code}", middle(parts)) for code, parts in assign(country, codes, states[country]).items())
    points.update((new, points[old]) for new, old in NEWER.items())
    for name, (lat, lon) in sorted(points.items()):
        print(f"{name} {round(lat, 2) + 0:g},{round(lon, 2) + 0:g}")


main(*sys.argv[1:])
