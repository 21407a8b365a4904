// Turns this process into a ClickHouse server: the engine's own command line runs inside the shared library that
// the package chdb brings. It is plain JavaScript, installed beside the packages it needs, since it runs in a process
// of its own that knows neither TypeScript nor the rest of Walhouse.
// The call returns when standard input closes, and with it the server ends.
'use strict';

const { DataType, isNullPointer, load, open } = require('ffi-rs');
const libraryOf = {
  'linux-x64': '@chdb/lib-linux-x64-gnu',
  'linux-arm64': '@chdb/lib-linux-arm64-gnu',
  'darwin-x64': '@chdb/lib-darwin-x64',
  'darwin-arm64': '@chdb/lib-darwin-arm64',
};

open({
  library: 'chdb',
  path: require.resolve(`${libraryOf[`${process.platform}-${process.arch}`]}/libchdb.so`),
});
const argv = ['clickhouse', ...process.argv.slice(2)];
const result = load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [argv.length, argv],
});

const ofResult = (retType) => ({
  library: 'chdb',
  funcName: 'chdb_result_error',
  retType,
  paramsType: [DataType.External],
  paramsValue: [result],
});
if (isNullPointer(load(ofResult(DataType.External)))) process.exit(0);
// Some errors are told only here, and with a stack that means nothing to anybody.
const message = load(ofResult(DataType.String)).split(', Stack trace')[0];
require('node:fs').writeSync(2, `${message}\n`);
process.exit(1);
