location.replace(`../${location.search}${location.hash}`);
