// What the gate offers for files: docs/formats/web-files.md says what travels.
import { json, put, type How } from '../lib/transport';

export interface Place { node: string; login: string }
export interface Entry {
  name: string;
  /** The name is text; one that is not can only be looked at. */
  text: boolean;
  kind: 'directory' | 'file' | 'link' | 'other';
  size: number | null;
  mode: number;
  /** Seconds since 1970. */
  changed: number | null;
}
export interface Listing { path: string; entries: Entry[]; more: boolean }
export interface Upload {
  upload: string;
  offset: number;
  size: number;
  stage: 'writing' | 'checking' | 'done' | 'failed';
  sha256?: string;
  code?: string;
  message?: string;
}
export interface Download extends Place {
  id: string;
  name: string;
  size: number;
  sent: number;
  state: 'waiting' | 'running' | 'done' | 'failed';
  sha256?: string;
  code?: string;
  message?: string;
}

const FILES = '/webapi/files';

export const list = (place: Place, path: string, how?: How) => json<Listing>('POST', `${FILES}/list`, { ...place, path }, how);
export const change = (place: Place, path: string, act: 'mkdir' | 'remove' | 'rename', to?: string) =>
  json('POST', `${FILES}/change`, { ...place, path, act, to });

export const start = (place: Place, directory: string, file: File, replace: boolean, how?: How) =>
  json<Upload>('POST', `${FILES}/uploads`, { ...place, directory, name: file.name, size: file.size, changed: file.lastModified, replace }, how);
export const piece = (upload: string, offset: number, data: Blob, how?: How) => put<Upload>(`${FILES}/uploads/${upload}/${offset}`, data, how);
export const finish = (upload: string, how?: How) => json<Upload>('POST', `${FILES}/uploads/${upload}/finish`, {}, how);
export const state = (upload: string, how?: How) => json<Upload>('GET', `${FILES}/uploads/${upload}`, {}, how);
export const cancel = (upload: string) => json('DELETE', `${FILES}/uploads/${upload}`, {});

export const ticket = (place: Place, path: string) => json<{ ticket: string; download: Download }>('POST', `${FILES}/tickets`, { ...place, path });
export const downloads = (how?: How) => json<{ items: Download[] }>('GET', `${FILES}/downloads`, {}, how);
export const stop = (id: string) => json('DELETE', `${FILES}/downloads/${id}`, {});
export const address = (ticket: string) => `webapi/files/downloads/${ticket}`;

/** A path in a directory. */
export const join = (directory: string, name: string) => (directory.endsWith('/') ? directory + name : `${directory}/${name}`);
