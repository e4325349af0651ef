location.replace(`../${location.search}`);
