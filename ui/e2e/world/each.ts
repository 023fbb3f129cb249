// After each test and each file. Files share their modules, so hooks of a shared module would be those of its first file alone.
import { afterAll, afterEach } from 'vitest';
import { close, end } from './browser';

afterEach(close);
afterAll(end);
