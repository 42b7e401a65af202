"""A tiny archive in the pyrfume layout, every row of it made up for the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FILES = {
    "goodscents/behavior.csv": """Stimulus,Descriptors
1-1,Fruity;cherry maraschino cherry;jasmin
2-2,
3-3,odorless
4-4,woody old wood;currant bud black currant bud
9-9,green
""",
    "goodscents/stimuli.csv": """Stimulus,TGSC ID,CID,Concentration %,Solvent
1-1,1,11,100.0,
2-2,2,12,100.0,
3-3,3,13,100.0,
4-4,4,14,100.0,
9-9,9,,100.0,
""",
    "goodscents/molecules.csv": """CID,MolecularWeight,IsomericSMILES,IUPACName,name
11,1,OCC,ethanol,a
12,1,CCC,propane,b
13,1,CCCC,butane,c
14,1,C[C@H](O)CC,d,d
""",
    "leffingwell/behavior.csv": """Stimulus,cherry,fruity,jasmine,odorless,woody
21,1,0,0,0,0
22,0,0,0,1,1
23,0,0,1,0,0
24,0,1,0,0,0
25,0,0,0,0,1
""",
    "leffingwell/molecules.csv": """CID,MolecularWeight,IsomericSMILES,IUPACName,name
21,1,CCO,ethanol,a
22,1,C[C@@H](O)CC,d,d
23,1,CC(=O)[O-].[Na+],salt,s
24,1,O,water,w
25,1,C1CC,broken,x
""",
    "ifra_2019/behavior.csv": """Stimulus,Descriptor 1,Descriptor 2,Descriptor 3
31,Fruity,Cherry,Neutral
31,Jasmin,,
32,Woody,Fruity,Green
""",
    "ifra_2019/molecules.csv": """CID,MolecularWeight,IsomericSMILES,IUPACName,name
31,1,CCO,ethanol,a
32,1,CCCCO,butanol,e
""",
    "dravnieks_1985/stimuli.csv": """Stimulus,CAS,CID,Conc,Name
A_high,1,41.0,high,A
A_low,1,41.0,low,A
B_low,2,42.0,low,B
Oil_high,,,high,Oil
""",
    "dravnieks_1985/molecules.csv": """CID,MolecularWeight,IsomericSMILES,IUPACName,name
41,1,CCO,ethanol,a
42,1,CCC=O,propanal,b
""",
    "dravnieks_1985/behavior_1.csv": """Stimulus,"FRUITY,CITRUS",MEATY ( COOKED,WARM
A_high,10.0,0.0,50
A_low,90.0,90.0,90
B_low,9.9,20,0
Oil_high,99,99,99
""",
    "dravnieks_1985/behavior_2.csv": """Stimulus,"FRUITY,CITRUS",MEATY ( COOKED,WARM
A_high,30.0,0.0,50
A_low,90.0,90.0,90
B_low,40,20,10
Oil_high,99,99,99
""",
    "prediction_targets/keller_2016.csv": """CID,Descriptor,Ave Rating
51,Fish,1.5
51,Intensity,60
52,Fish,0.5
52,Intensity,40
53,Fish,2.5
53,Intensity,20
""",
    "molecules/molecules.csv": """CID,MolecularWeight,IsomericSMILES,IUPACName,name
51,1,CCO,ethanol,a
52,1,CCCO,propanol,b
53,1,CCCCO,butanol,c
""",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _no_variables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests marked `archives` see the user's archives and weights."""
    if request.node.get_closest_marker("archives") is None:
        for name in ("OLFACTION_ARCHIVE", "OLFACTION_WEIGHTS"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def real_archive() -> Path:
    folder = os.environ.get("OLFACTION_ARCHIVE")
    if not folder:
        pytest.skip("OLFACTION_ARCHIVE is not set: no real archive to read")
    return Path(folder)
